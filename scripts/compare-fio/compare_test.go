package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A short run against the real fio: both sides must have done I/O, and the
// table must say so.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, bytes.Repeat([]byte("x"), 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	args := []string{"--target", target, "--size", "8388608", "--rounds", "2", "--time", "200ms", "--jobs", "4k-qd1,4k-qd1-write", "--writes"}
	if code := run(context.Background(), args, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines[len(lines)-2:] {
		f := strings.Fields(line)
		if len(f) < 6 || !strings.HasPrefix(f[0], "4k-qd1") || f[1] != "direct" || f[2] != "psync" || f[3] == "0" || f[4] == "0" {
			t.Errorf("row %q", line)
		}
	}
	if got, err := os.ReadFile(target); err != nil || bytes.Count(got, []byte("x")) == len(got) {
		t.Errorf("the write job wrote nothing (%v)", err)
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"--target f --jobs 4k-qd1-write", "would destroy the content of f: add --writes", 2},
		{"--jobs 5k", `--jobs: "5k": want of 4k-qd1, `, 2},
		{"--pairs direct/sync", "--pairs: \"direct/sync\"", 2},
		{"--loop --target f", "exclude each other", 2},
		{"--time 50ms", "100 or more", 2},
		{"--target /nonexistent --jobs 4k-qd1", "/nonexistent", 1},
	} {
		var out, errs bytes.Buffer
		code := run(context.Background(), strings.Fields(c.args), nil, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%s: exit %d, %q; want %d, %q", c.args, code, &errs, c.code, c.want)
		}
	}
}

func TestParseFio(t *testing.T) {
	const good = `note: something
{"jobs":[{"error":0,"usr_cpu":1.5,"sys_cpu":8.5,"read":{"iops":100.5,"lat_ns":{"percentile":{"50.000000":12000}}},"write":{"iops":0}}]}`
	if s, err := parseFio([]byte(good), false); err != nil || s.iops != 100.5 || s.p50 != 12 || math.Abs(s.cpu-1e5/100.5) > 1e-9 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "{", `{"jobs":[]}`, `{"jobs":[{"error":5}]}`, `{"jobs":[{"error":0}]}`} {
		if _, err := parseFio([]byte(bad), false); err == nil {
			t.Errorf("%q was taken for a result", bad)
		}
	}
}

func TestInterval(t *testing.T) {
	v := []float64{0.9, 1.0, 1.1, 1.0, 1.0, 0.95, 1.05}
	if m := median(v); m != 1 {
		t.Errorf("median %v", m)
	}
	if low, high := interval(v, 1); low < 0.9 || low > 1 || high < 1 || high > 1.1 || low == high {
		t.Errorf("interval %v to %v", low, high)
	}
	if m := median([]float64{1, 2}); m != 1.5 {
		t.Errorf("median of two %v", m)
	}
}
