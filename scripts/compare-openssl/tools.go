package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// build makes the program that measures our side.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "sealbench")
	_, err := output(ctx, "go", "build", "-trimpath", "-o", path, "sealbay/bench/cmd/sealbench")
	return path, err
}

// ours runs sealbench cipher over one job, one sector a call and in batches.
// An empty impl becomes the best that runs here.
func ours(ctx context.Context, program string, impl *string, j job) (single, batch float64, err error) {
	args := []string{"cipher", "--json", "--rounds", "21", "--set", "cache,single",
		"--bits", strconv.Itoa(j.bits), "--sector", strconv.Itoa(j.sector)}
	if *impl != "" {
		args = append(args, "--impl", *impl)
	}
	out, err := output(ctx, program, args...)
	if err != nil {
		return 0, 0, err
	}
	var r struct {
		Plan struct{ Impls []string }
		Rows []struct {
			Impl, Op string
			Set      string  `json:"working_set"`
			InPlace  bool    `json:"in_place"`
			GBps     float64 `json:"gbps"`
		}
	}
	if err := json.Unmarshal(out, &r); err != nil || len(r.Plan.Impls) == 0 {
		return 0, 0, fmt.Errorf("sealbench's answer: %v, %d implementations", err, len(r.Plan.Impls))
	}
	*impl = r.Plan.Impls[0]
	for _, row := range r.Rows {
		if row.Impl != *impl || row.Op != j.op() || row.InPlace {
			continue
		}
		if row.Set == "single" {
			single = row.GBps
		} else {
			batch = row.GBps
		}
	}
	if single == 0 || batch == 0 {
		return 0, 0, fmt.Errorf("sealbench's answer has no row of %s, %s", *impl, j.op())
	}
	return single, batch, nil
}

// total is the machine-readable result of openssl speed -mr: bytes a second.
var total = regexp.MustCompile(`(?m)^\+F:\d+:[^:]+:([0-9.]+)$`)

func openssl(ctx context.Context, j job, seconds int) (float64, error) {
	args := []string{"speed", "-mr", "-evp", fmt.Sprintf("aes-%d-xts", j.bits),
		"-bytes", strconv.Itoa(j.sector), "-seconds", strconv.Itoa(seconds)}
	if j.decrypt {
		args = append(args, "-decrypt")
	}
	out, err := output(ctx, "openssl", args...)
	if err != nil {
		return 0, err
	}
	m := total.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("openssl speed's answer has no +F line: %s", out)
	}
	rate, err := strconv.ParseFloat(string(m[1]), 64)
	return rate / 1e9, err
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
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
