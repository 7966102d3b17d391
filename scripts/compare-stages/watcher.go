package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// watcher is a tool that runs until it is stopped.
type watcher struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ready  chan struct{}
	ended  chan struct{}
	out    []string // lines; whole when ended is closed
}

// start runs a tool and waits until it prints a line that holds ready.
func start(ctx context.Context, ready, name string, args ...string) (*watcher, error) {
	w := &watcher{cmd: exec.CommandContext(ctx, name, args...), ready: make(chan struct{}), ended: make(chan struct{})}
	w.cmd.Stderr = &w.stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go w.read(bufio.NewScanner(out), ready)
	select {
	case <-w.ready:
		return w, nil
	case <-w.ended:
		err = errors.New("ended before it was ready")
	case <-time.After(time.Minute):
		err = errors.New("not ready after a minute")
	}
	return nil, fmt.Errorf("%s: %w: %v", name, err, w.kill())
}

func (w *watcher) read(in *bufio.Scanner, ready string) {
	defer close(w.ended)
	in.Buffer(nil, 16<<20)
	for up := false; in.Scan(); {
		line := in.Text()
		w.out = append(w.out, line)
		if !up && strings.Contains(line, ready) {
			up = true
			close(w.ready)
		}
	}
}

// stop ends the tool as Ctrl-C does and waits for what it prints.
func (w *watcher) stop() error {
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		return errors.Join(err, w.kill())
	}
	select {
	case <-w.ended:
	case <-time.After(30 * time.Second):
		return errors.Join(fmt.Errorf("%s: not ended by an interrupt", w.cmd.Path), w.kill())
	}
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", w.cmd.Path, err, strings.TrimSpace(w.stderr.String()))
	}
	return nil
}

// kill ends it without asking and says what it complained of.
func (w *watcher) kill() error {
	_ = w.cmd.Process.Kill() // may have ended by itself
	<-w.ended
	err := w.cmd.Wait()
	return fmt.Errorf("%w: %s", err, strings.TrimSpace(w.stderr.String()))
}
