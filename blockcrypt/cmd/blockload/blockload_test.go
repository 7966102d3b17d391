package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"sealbay/blockcrypt/blocktest"
)

func TestRun(t *testing.T) {
	target := blocktest.File(t, "", 24<<20)
	var out, errs bytes.Buffer
	args := []string{"-target", target, "-engine", "io_uring", "-depth", "4", "-time", "20ms", "-rounds", "2", "-stages", "plain,copy,encrypt", "-rw", "randwrite"}
	if code := run(context.Background(), args, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	runs, sums := map[string]int{}, 0
	for d := json.NewDecoder(&out); d.More(); {
		var line struct {
			result
			Over string `json:"over"`
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		switch {
		case line.Over != "":
			sums++
		case line.IOPS <= 0 || line.P50 <= 0:
			t.Errorf("nothing done: %+v", line)
		default:
			runs[line.Stage]++
		}
	}
	if sums != 2 || runs["plain"] != 2 || runs["copy"] != 2 || runs["encrypt"] != 2 {
		t.Errorf("runs %v, %d summaries", runs, sums)
	}
}

func TestRefuses(t *testing.T) {
	small := blocktest.File(t, "", 1<<20)
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"", "want --target PATH", 2},
		{"-target x -rw trim", "--rw trim", 2},
		{"-target x -depth 0", "must be positive", 2},
		{"-target x -stages plain,zip", "--stages zip", 2},
		{"-target /nonexistent", "opening /nonexistent: no such file or directory", 1},
		{"-target " + small + " -engine aio", `no I/O engine "aio"`, 1},
		{"-target " + small + " -stages copy", small, 1},
		{"-target " + small + " -bs 2097152", "less than one block", 1},
	} {
		var out, errs bytes.Buffer
		code := run(context.Background(), strings.Fields(c.args), nil, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.want) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: exit %d, %q; want %d, %q", c.args, code, &errs, c.code, c.want)
		}
	}
}
