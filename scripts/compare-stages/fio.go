package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// load is what fio does.
type load struct {
	name, rw, engine string
	bs, depth        int
}

var loads = []load{
	{"4 KiB read, QD1", "randread", "psync", 4 << 10, 1},
	{"4 KiB write, QD1", "randwrite", "psync", 4 << 10, 1},
	{"4 KiB read, QD8", "randread", "io_uring", 4 << 10, 8},
	{"128 KiB read, QD1", "randread", "io_uring", 128 << 10, 1},
}

func (l load) op() string { return strings.TrimPrefix(l.rw, "rand") }

// size of the loop device; bytes.
const size = 256 << 20

// latency is fio's: clat from the end of the submission, lat with it. What our
// loop measures is lat.
type latency struct{ clat, lat seen }

func fio(ctx context.Context, dev string, l load, d time.Duration) (latency, error) {
	out, err := output(ctx, "fio", "fio", "--name=x", "--filename="+dev, "--direct=1", "--rw="+l.rw,
		"--bs="+strconv.Itoa(l.bs), "--iodepth="+strconv.Itoa(l.depth), "--ioengine="+l.engine,
		"--time_based", "--runtime="+d.String(), "--norandommap", "--output-format=json", "--clat_percentiles=1", "--lat_percentiles=1", "--allow_file_create=0")
	if err != nil {
		return latency{}, err
	}
	return parseFio(out, l.op())
}

func parseFio(out []byte, op string) (latency, error) {
	var r struct {
		Jobs []map[string]json.RawMessage `json:"jobs"`
	}
	if i := bytes.IndexByte(out, '{'); i > 0 {
		out = out[i:] // fio prints notes before its JSON
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return latency{}, fmt.Errorf("fio's answer: %w", err)
	}
	if len(r.Jobs) != 1 {
		return latency{}, fmt.Errorf("fio's answer: %d jobs, want one", len(r.Jobs))
	}
	type figures struct {
		N          int64              `json:"N"`
		Mean       float64            `json:"mean"`       // ns
		Percentile map[string]float64 `json:"percentile"` // ns
	}
	var side struct {
		Clat figures `json:"clat_ns"`
		Lat  figures `json:"lat_ns"`
	}
	if err := json.Unmarshal(r.Jobs[0][op], &side); err != nil {
		return latency{}, fmt.Errorf("fio's answer, %s: %w", op, err)
	}
	us := func(f figures) seen { return seen{f.N, f.Mean / 1e3, f.Percentile["50.000000"] / 1e3} }
	l := latency{us(side.Clat), us(side.Lat)}
	if l.clat.p50 == 0 || l.lat.p50 == 0 {
		return l, errors.New("fio's answer: no I/O done, or no percentiles")
	}
	return l, nil
}

// loop makes a loop device with direct I/O over tmpfs.
func loop(ctx context.Context) (string, func() error, error) {
	f, err := os.CreateTemp("/dev/shm", "compare-stages-")
	if err != nil {
		return "", nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return "", nil, errors.Join(err, os.Remove(f.Name()))
	}
	out, err := output(ctx, "mount", "losetup", "--find", "--show", "--direct-io=on", "--sector-size", "4096", f.Name())
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(f.Name()))
	}
	dev := strings.TrimSpace(string(out))
	return dev, func() error {
		// Not ctx: an interrupted run takes its device away too.
		_, err := output(context.WithoutCancel(ctx), "mount", "losetup", "--detach", dev)
		return errors.Join(err, os.Remove(f.Name()))
	}, nil
}

// output runs a program of the Debian package pkg.
func output(ctx context.Context, pkg, name string, args ...string) ([]byte, error) {
	if _, err := exec.LookPath(name); err != nil {
		return nil, fmt.Errorf("%s is missing: apt-get install %s (scripts/setup.sh does)", name, pkg)
	}
	c := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()+" "+string(out)))
	}
	return out, nil
}
