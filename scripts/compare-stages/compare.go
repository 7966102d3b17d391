package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// seen is what one tool saw of a stage; microseconds.
type seen struct {
	count     int64
	mean, p50 float64
}

// ErrDiffer: the tools do not see the same device.
var errDiffer = errors.New("the tools differ by more than they may")

// Bounds of ours over bpftrace's. Ours has buckets of 12.5 %, bpftrace's are
// 0.25 us wide, and each tool's programs run inside what the other measures.
const least, most = 0.8, 1.25

func compare(ctx context.Context, o options, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "compare-stages-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bench := filepath.Join(dir, "sealbench")
	if _, err := output(ctx, "go", "go", "build", "-trimpath", "-o", bench, "sealbay/bench/cmd/sealbench"); err != nil {
		return err
	}
	dev, remove, err := loop(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	c := &comparison{o: o, dir: dir, bench: bench, dev: dev, w: stdout}
	if err := c.sameIO(ctx); err != nil {
		return err
	}
	if err := c.sameRun(ctx); err != nil {
		return err
	}
	return c.verdict()
}

type comparison struct {
	o               options
	dir, bench, dev string
	w               io.Writer
	differ          []string
}

// sameIO lets both tools watch the same I/Os.
func (c *comparison) sameIO(ctx context.Context) error {
	c.line("stage device, the same I/Os of fio")
	c.line(columns, "", "", "sealbench probe", "bpftrace", "ratio")
	for _, l := range loads {
		ours, theirs, err := c.both(ctx, l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		c.row(l.name, "I/Os", float64(ours.count), float64(theirs.count), 0.99, 1.01)
		c.row("", "mean us", ours.mean, theirs.mean, least, most)
		c.row("", "p50 us", ours.p50, theirs.p50, least, most)
	}
	return nil
}

func (c *comparison) both(ctx context.Context, l load) (ours, theirs seen, err error) {
	trace, err := startBpftrace(ctx, c.dir, c.dev, "1")
	if err != nil {
		return ours, theirs, err
	}
	live, err := startLive(ctx, c.bench, c.dev, filepath.Join(c.dir, "live.json"))
	if err != nil {
		return ours, theirs, errors.Join(err, trace.stop())
	}
	_, ferr := fio(ctx, c.dev, l, c.o.time)
	time.Sleep(100 * time.Millisecond) // the last completions
	if err := errors.Join(ferr, live.stop(), trace.stop()); err != nil {
		return ours, theirs, err
	}
	if ours, err = live.device(l.op()); err != nil {
		return ours, theirs, err
	}
	theirs, err = trace.device()
	return ours, theirs, err
}

// sameRun lets bpftrace watch the bench's own run, and fio take turns with it.
func (c *comparison) sameRun(ctx context.Context) error {
	var device, traced, whole, clat, lat []seen
	for range c.o.rounds {
		trace, err := startBpftrace(ctx, c.dir, c.dev, `args->bytes == 4096 && strncmp(args->rwbs, "R", 1) == 0`)
		if err != nil {
			return err
		}
		r, berr := runBench(ctx, c.bench, c.dev, c.o, filepath.Join(c.dir, "run.json"))
		if err := errors.Join(berr, trace.stop()); err != nil {
			return err
		}
		t, err := trace.device()
		if err != nil {
			return err
		}
		l := load{rw: "randread", bs: 4096, depth: 1, engine: map[string]string{"direct": "psync", "io_uring": "io_uring"}[c.o.engine]}
		f, err := fio(ctx, c.dev, l, c.o.time)
		if err != nil {
			return err
		}
		device, whole = append(device, r.device), append(whole, r.whole)
		traced, clat, lat = append(traced, t), append(clat, f.clat), append(lat, f.lat)
	}
	c.line("\na bench run, 4 KiB random reads, QD1, engine %s, medians of %d turns", c.o.engine, c.o.rounds)
	c.line(columns, "", "", "sealbench run", "bpftrace", "ratio")
	// bpftrace sees the arms without probes and the encrypted ones too.
	c.row("device", "p50 us", median(device), median(traced), least/1.25, most*1.25)
	c.line(columns, "", "", "sealbench run", "fio", "ratio")
	const any = 1e9 // speed is compare-fio's to judge
	c.row("end to end, clat", "p50 us", median(whole), median(clat), 0, any)
	c.row("end to end, lat", "p50 us", median(whole), median(lat), 0, any)
	return nil
}

func median(s []seen) float64 {
	slices.SortFunc(s, func(a, b seen) int {
		if a.p50 < b.p50 {
			return -1
		}
		return 1
	})
	return s[len(s)/2].p50
}

const columns = "  %-22s %-8s %15s %12s  %s"

func (c *comparison) line(format string, args ...any) {
	fmt.Fprintln(c.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

// row prints a figure of both, and notes it where they differ.
func (c *comparison) row(name, figure string, ours, theirs, low, high float64) {
	ratio := ours / theirs
	text := fmt.Sprintf("%.3f", ratio)
	if !(ratio >= low && ratio <= high) { // NaN too
		text += fmt.Sprintf("  outside %.2f to %.2f", low, high)
		c.differ = append(c.differ, strings.TrimSpace(name+" "+figure))
	}
	digits := 2
	if figure == "I/Os" {
		digits = 0
	}
	c.line(columns, name, figure, fmt.Sprintf("%.*f", digits, ours), fmt.Sprintf("%.*f", digits, theirs), text)
}

func (c *comparison) verdict() error {
	if len(c.differ) > 0 {
		return fmt.Errorf("%w: %s", errDiffer, strings.Join(c.differ, ", "))
	}
	c.line("\nthe tools agree")
	return nil
}
