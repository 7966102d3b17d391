package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// sample is one run of one side.
type sample struct{ iops, p50, cpu float64 } // per second, microseconds, microseconds per I/O

type runner func(ctx context.Context, target string, j job, engine string) (sample, error)

// build makes the program that drives our engines; measuring `go run` would
// measure the compiler.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "blockload")
	_, err := output(ctx, "go", "build", "-trimpath", "-o", path, "sealbay/blockcrypt/cmd/blockload")
	return path, err
}

func ours(path string, o *options) runner {
	return func(ctx context.Context, target string, j job, engine string) (sample, error) {
		out, err := output(ctx, path, "-target", target, "-engine", engine, "-rw", j.rw,
			"-bs", strconv.Itoa(j.bs), "-depth", strconv.Itoa(j.depth),
			"-size", strconv.FormatInt(o.size, 10), "-time", o.time.String())
		if err != nil {
			return sample{}, err
		}
		var r struct {
			IOPS float64 `json:"iops"`
			P50  float64 `json:"p50_us"`
			CPU  float64 `json:"cpu_us_per_io"`
		}
		if err := json.Unmarshal(out, &r); err != nil {
			return sample{}, fmt.Errorf("blockload's answer: %w", err)
		}
		return sample{r.IOPS, r.P50, r.CPU}, nil
	}
}

// fio runs one job with all that makes fio fast: registered buffers and file,
// no random map, no refilling of buffers. As a thread: a process of its own
// would be a session of its own, which the scheduler weighs apart from ours.
func fio(o *options) runner {
	return func(ctx context.Context, target string, j job, engine string) (sample, error) {
		args := []string{
			"--name=" + j.name, "--filename=" + target, "--ioengine=" + engine, "--rw=" + j.rw,
			"--bs=" + strconv.Itoa(j.bs), "--iodepth=" + strconv.Itoa(j.depth), "--direct=1",
			"--size=" + strconv.FormatInt(o.size, 10), "--time_based", "--runtime=" + strconv.FormatInt(o.time.Milliseconds(), 10) + "ms",
			"--norandommap", "--randrepeat=0", "--scramble_buffers=0", "--output-format=json",
			"--allow_file_create=0", "--fallocate=none", "--thread",
			"--clat_percentiles=0", "--lat_percentiles=1", // from submission on, as ours
		}
		if engine == "io_uring" {
			args = append(args, "--registerfiles=1", "--fixedbufs=1")
		}
		out, err := output(ctx, "fio", args...)
		if err != nil {
			return sample{}, err
		}
		return parseFio(out, strings.HasSuffix(j.rw, "write"))
	}
}

func parseFio(out []byte, write bool) (sample, error) {
	type side struct {
		IOPS float64 `json:"iops"`
		Lat  struct {
			Percentile map[string]float64 `json:"percentile"` // ns
		} `json:"lat_ns"`
	}
	var r struct {
		Jobs []struct {
			Error int     `json:"error"`
			User  float64 `json:"usr_cpu"` // percent of the run
			Sys   float64 `json:"sys_cpu"`
			Read  side    `json:"read"`
			Write side    `json:"write"`
		} `json:"jobs"`
	}
	if i := bytes.IndexByte(out, '{'); i > 0 {
		out = out[i:] // fio prints notes before its JSON
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return sample{}, fmt.Errorf("fio's answer: %w", err)
	}
	if len(r.Jobs) != 1 || r.Jobs[0].Error != 0 {
		return sample{}, fmt.Errorf("fio's answer: %d jobs, want one without error", len(r.Jobs))
	}
	s := r.Jobs[0].Read
	if write {
		s = r.Jobs[0].Write
	}
	if s.IOPS <= 0 {
		return sample{}, fmt.Errorf("fio's answer: no I/O done")
	}
	cpu := (r.Jobs[0].User + r.Jobs[0].Sys) / 100 * 1e6 / s.IOPS
	return sample{s.IOPS, s.Lat.Percentile["50.000000"] / 1e3, cpu}, nil
}

func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	if _, err := exec.LookPath(name); err != nil {
		return nil, fmt.Errorf("%s is missing: apt-get install %s (scripts/setup.sh does)", name, filepath.Base(name))
	}
	c := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(stderr.String()+" "+string(out)))
	}
	return out, nil
}
