package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseBpftrace(t *testing.T) {
	got, err := parseBpftrace([]string{
		`{"type": "attached_probes", "data": {"probes": 4}}`, "up", "",
		`{"type": "stats", "data": {"@whole": {"count": 10, "average": 6400, "total": 64000}}}`,
		`{"type": "hist", "data": {"@steps": [{"min": 6000, "max": 6249, "count": 4}, {"min": 6250, "max": 6499, "count": 3}, {"min": 250000, "count": 3}]}}`,
	})
	if want := (seen{10, 6.4, 6.3745}); err != nil || got.count != want.count || math.Abs(got.mean-want.mean) > 1e-9 || math.Abs(got.p50-want.p50) > 1e-9 {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for says, lines := range map[string][]string{
		"saw no I/O": {"up"},
		"beyond": {`{"type": "stats", "data": {"@whole": {"count": 2, "average": 1}}}`,
			`{"type": "hist", "data": {"@steps": [{"min": 250000, "count": 2}]}}`},
	} {
		if _, err := parseBpftrace(lines); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", lines, err)
		}
	}
}

func TestParseFio(t *testing.T) {
	got, err := parseFio([]byte(`note
{"jobs": [{"read": {"clat_ns": {"N": 5, "mean": 7500.0, "percentile": {"50.000000": 7008}},
 "lat_ns": {"N": 5, "mean": 8500.0, "percentile": {"50.000000": 8032}}}}]}`), "read")
	if want := (latency{seen{5, 7.5, 7.008}, seen{5, 8.5, 8.032}}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "{}", `{"jobs": [{"write": {}}]}`, `{"jobs": [{"read": {"clat_ns": {"N": 0}}}]}`} {
		if _, err := parseFio([]byte(bad), "read"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseOurs(t *testing.T) {
	got, err := parseLive([]byte(`{"rows": [{"op": "read", "stage": "queue", "count": 9, "mean_us": 1, "p50_us": 1},
 {"op": "read", "stage": "device", "count": 9, "mean_us": 6.5, "p50_us": 6.25}]}`), "read")
	if want := (seen{9, 6.5, 6.25}); err != nil || got != want {
		t.Errorf("live: got %+v, %v; want %+v", got, err, want)
	}
	b, err := parseBench([]byte(`{"workloads": [{"modes": {"plain": {"samples": 7, "mean_us": 9, "p50_us": 8},
 "plain_probed": {"probed": {"matched": 6, "stages": [{"stage": "device", "mean_us": 6.5, "p50_us": 6}]}}}}]}`))
	if want := (benched{seen{6, 6.5, 6}, seen{7, 9, 8}}); err != nil || b != want {
		t.Errorf("bench: got %+v, %v; want %+v", b, err, want)
	}
	if _, err := parseBench([]byte(`{"workloads": [{"modes": {"plain": {}}}]}`)); err == nil {
		t.Error("a run without probes was taken")
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, args := range [][]string{{"--rounds", "0"}, {"--time", "1500ms"}, {"--engine", "psync"}, {"x"}, {"--nosuch"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, nil, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: status %d, said %q", args, code, errs.String())
		}
	}
}

// TestSameIO is the cross-check itself, on one load: every I/O counted by
// both, and one device seen.
func TestSameIO(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	bench := dir + "/sealbench"
	if _, err := output(ctx, "go", "go", "build", "-o", bench, "sealbay/bench/cmd/sealbench"); err != nil {
		t.Fatal(err)
	}
	dev, remove, err := loop(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}()
	var out bytes.Buffer
	c := &comparison{o: options{time: time.Second}, dir: dir, bench: bench, dev: dev, w: &out}
	ours, theirs, err := c.both(ctx, loads[0])
	if err != nil {
		t.Fatal(err)
	}
	c.row("", "I/Os", float64(ours.count), float64(theirs.count), 0.99, 1.01)
	c.row("", "mean us", ours.mean, theirs.mean, least, most)
	c.row("", "p50 us", ours.p50, theirs.p50, least, most)
	t.Log(out.String())
	if err := c.verdict(); err != nil {
		t.Error(err)
	}
	c.row("device", "p50 us", 2, 1, least, most)
	if c.verdict() == nil || !strings.Contains(out.String(), "outside 0.80 to 1.25") {
		t.Errorf("twice the time is no difference: %s", out.String())
	}
}

// Where systemd runs, both file systems are mounted before; in a bare sandbox
// none is. bpftrace must find them either way.
func TestMounted(t *testing.T) {
	dir := t.TempDir()
	bpftrace := "#!/bin/sh\nmountpoint -q /sys/kernel/tracing && mountpoint -q /sys/kernel/debug && echo \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "bpftrace"), []byte(bpftrace), 0o755); err != nil {
		t.Fatal(err)
	}
	const none = "while umount /sys/kernel/tracing 2>/dev/null; do :; done; while umount /sys/kernel/debug 2>/dev/null; do :; done; "
	for name, before := range map[string]string{
		"none": none,
		"some": none + "mount -t tracefs none /sys/kernel/tracing; ",
		"both": none + "mount -t tracefs none /sys/kernel/tracing; mount -t debugfs none /sys/kernel/debug; ",
	} {
		c := exec.Command("unshare", "--mount", "sh", "-c", before+mounted, "sh", "script")
		c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		if out, err := c.CombinedOutput(); err != nil || string(out) != "-f json script\n" {
			t.Errorf("%s mounted: %v, %q", name, err, out)
		}
	}
}
