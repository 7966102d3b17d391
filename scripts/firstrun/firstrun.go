package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"
	"sealbay/scripts/qemu"
)

type options struct {
	image, out, job string
	limit           time.Duration
}

const (
	bootBytes = 64 << 20
	dataBytes = 256 << 20 // what the quick bench uses
	result    = "result.json"
)

// firstRun returns nil only if the machine ran its whole job and a sound
// result lies in o.out.
func firstRun(ctx context.Context, o options, stdout io.Writer) error {
	accel, why, err := qemu.PickAccel(ctx, o.image, filepath.Join(filepath.Dir(o.out), "accel"))
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "run: processor by %s (%s)\n", strings.ToUpper(string(accel)), why)
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(o.out, result)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	drives, err := makeDrives(ctx, o.out)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(o.out, "console.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	var failed lastFailure
	m := qemu.Machine{
		Image: o.image, Drives: drives, Limit: o.limit, Cmdline: []string{"sealbay.job=" + o.job},
		Console: io.MultiWriter(stdout, log, &failed), Fancy: isTerminal(stdout),
	}
	start := time.Now()
	answer, err := m.Run(ctx, accel)
	if err == nil && answer.Exit != 0 {
		err = fmt.Errorf("exit code %d", answer.Exit)
	}
	if err != nil {
		return fmt.Errorf("%w%s (console: %s)", err, failed.text(), log.Name())
	}
	if err := keepResult(o.out, answer.Files[result]); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "run: all done in %.0f s; result in %s\n", time.Since(start).Seconds(), filepath.Join(o.out, result))
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func makeDrives(ctx context.Context, dir string) ([]qemu.Drive, error) {
	drives := []qemu.Drive{
		{Path: filepath.Join(dir, "boot.img"), Bus: qemu.VirtioBlk, Serial: "BOOT-1"},
		{Path: filepath.Join(dir, "data1.img"), Bus: qemu.VirtioBlk, Serial: "DATA-1"},
		{Path: filepath.Join(dir, "data2.img"), Bus: qemu.NVMe, Serial: "DATA-2"},
		{Path: filepath.Join(dir, "data3.img"), Bus: qemu.AHCI, Serial: "DATA-3"},
	}
	if err := qemu.BootDrive(ctx, drives[0].Path, bootBytes); err != nil {
		return nil, err
	}
	for _, d := range drives[1:] {
		if err := qemu.BlankDrive(d.Path, dataBytes); err != nil {
			return nil, err
		}
	}
	return drives, nil
}

// keepResult writes the bench's answer to where the host finds it, if it is
// one: JSON that holds a verdict for at least one workload.
func keepResult(dir string, data []byte) error {
	if len(data) == 0 {
		return errors.New("the job ended well but handed over no " + result)
	}
	var r struct {
		Workloads []struct {
			Verdict string `json:"verdict"`
		} `json:"workloads"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("%s is not sound JSON: %w", result, err)
	}
	if len(r.Workloads) == 0 || r.Workloads[0].Verdict == "" {
		return fmt.Errorf("%s holds no workload with a verdict", result)
	}
	return os.WriteFile(filepath.Join(dir, result), data, 0o644)
}

// lastFailure remembers the line by which PID 1 said what went wrong.
type lastFailure struct{ rest, line string }

func (l *lastFailure) Write(p []byte) (int, error) {
	text := l.rest + string(p)
	for {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			l.rest = line
			return len(p), nil
		}
		if _, what, ok := strings.Cut(line, "sealbay: FAILED: "); ok {
			l.line = what
		}
		text = rest
	}
}

func (l *lastFailure) text() string {
	if l.line == "" {
		return ""
	}
	return ": " + string(bytes.TrimSpace([]byte(l.line)))
}
