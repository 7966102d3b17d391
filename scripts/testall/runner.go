package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// runner runs steps and keeps what they print.
type runner struct {
	out     string
	stdout  io.Writer
	summary strings.Builder
	failed  int
}

// heartbeat is how often a quiet step says that it is alive.
const heartbeat = 30 * time.Second

// all runs every step, also after one that failed, and says at the end how
// each went. The error names how many failed.
func (r *runner) all(ctx context.Context, steps []step) error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	start := time.Now()
	total := newTally(io.Discard)
	for i, s := range steps {
		fmt.Fprintf(r.stdout, "\n== %d of %d: %s (%s)\n", i+1, len(steps), s.name, s.why)
		began := time.Now()
		t := newTally(r.stdout)
		err := r.step(ctx, s, t)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.sum(s, t, err, time.Since(began))
		total.passed, total.failed = total.passed+t.passed, total.failed+t.failed
		total.skipped = append(total.skipped, t.skipped...)
	}
	for _, skip := range total.skipped {
		fmt.Fprintf(&r.summary, "skipped: %s\n", skip)
	}
	fmt.Fprintf(&r.summary, "tests: %d passed, %d failed, %d skipped; steps: %d passed, %d failed; %.0f s\n",
		total.passed, total.failed, len(total.skipped), len(steps)-r.failed, r.failed, time.Since(start).Seconds())
	fmt.Fprintf(r.stdout, "\n%s", r.summary.String())
	if err := os.WriteFile(filepath.Join(r.out, "summary.txt"), []byte(r.summary.String()), 0o644); err != nil {
		return err
	}
	if r.failed > 0 {
		return fmt.Errorf("%d of %d steps failed (logs: %s)", r.failed, len(steps), r.out)
	}
	return nil
}

// sum adds a step's line to the summary.
func (r *runner) sum(s step, t *tally, err error, took time.Duration) {
	word := "ok  "
	if err != nil {
		word = "FAIL"
		r.failed++
		fmt.Fprintf(r.stdout, "FAIL: %s: %v\n", s.name, err)
	}
	fmt.Fprintf(&r.summary, "%s  %5.0fs  %s", word, took.Seconds(), s.name)
	if s.tests {
		fmt.Fprintf(&r.summary, ": %d packages, %d tests passed, %d failed, %d skipped", t.packs, t.passed, t.failed, len(t.skipped))
	}
	r.summary.WriteByte('\n')
}

// step runs one command under its time limit. Its whole process group is
// killed at the end of that: go test leaves its children behind otherwise.
func (r *runner) step(ctx context.Context, s step, t *tally) error {
	args := s.args
	if s.more != nil {
		more, err := s.more()
		if err != nil {
			return err
		}
		args = slices.Concat(args, more)
	}
	log, err := os.Create(filepath.Join(r.out, s.name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	err = r.follow(cmd, s, t, log)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("not done after %v, stopped; still running: %s", s.limit, t.busy())
	case err != nil:
		return err
	case s.tests && t.packs == 0:
		return errors.New("no package has a test")
	}
	return nil
}

// follow runs cmd and shows what it prints.
func (r *runner) follow(cmd *exec.Cmd, s step, t *tally, log io.Writer) error {
	if !s.tests {
		cmd.Stdout = io.MultiWriter(r.stdout, log)
		cmd.Stderr = cmd.Stdout
		return cmd.Run()
	}
	events, feed := io.Pipe()
	cmd.Stdout, cmd.Stderr = io.MultiWriter(feed, log), io.MultiWriter(r.stdout, log)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	done := make(chan error, 1)
	go func() { err := cmd.Run(); feed.Close(); done <- err }()
	read := make(chan error, 1)
	go func() { err := t.read(events); events.CloseWithError(err); read <- err }()
	for {
		select {
		case <-beat.C:
			fmt.Fprintf(r.stdout, "...            running: %s\n", t.busy())
		case err := <-done:
			return errors.Join(err, <-read)
		}
	}
}
