package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The whole of `make run` is a step of `make test`; here is what it must not
// let pass.

func TestKeepResult(t *testing.T) {
	for data, wrong := range map[string]string{
		`{"workloads": [{"id": "W1", "verdict": "FAIL"}]}`: "",
		"":                              "handed over no result.json",
		"{":                             "is not sound JSON",
		`{"workloads": []}`:             "no workload with a verdict",
		`{"workloads": [{"id": "W1"}]}`: "no workload with a verdict",
	} {
		dir := t.TempDir()
		err := keepResult(dir, []byte(data))
		if (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v, want %q", data, err, wrong)
		}
		if _, statErr := os.Stat(filepath.Join(dir, result)); (statErr == nil) != (wrong == "") {
			t.Errorf("%q: result on the host: %v", data, statErr)
		}
	}
}

func TestLastFailure(t *testing.T) {
	const text = "[ 1.00] sealbay: Linux\nsealbench: drive is gone\n[ 2.00] sealbay: FAILED: job x: exit status 1\n[ 2.10] sealbay: power off\n"
	for cut := range len(text) {
		var l lastFailure
		for _, part := range []string{text[:cut], text[cut:]} {
			fmt.Fprint(&l, part)
		}
		if got := l.text(); got != ": job x: exit status 1" {
			t.Fatalf("cut at %d: %q", cut, got)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args  []string
		code  int
		wrong string
	}{
		{[]string{"stray"}, 2, `unexpected argument "stray"`},
		{[]string{"-nosuch"}, 2, "-nosuch"},
	} {
		var out strings.Builder
		if code := run(t.Context(), c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.wrong) {
			t.Errorf("%q: exit code %d, %q", c.args, code, out.String())
		}
	}
}

// TestNamesTheFailure starts a QEMU that fails: the reason is said, an old
// result does not stay, and the exit code is not 0.
func TestNamesTheFailure(t *testing.T) {
	dir := t.TempDir()
	fake := "#!/bin/sh\n[ \"$1\" = --version ] && echo 'QEMU emulator version 10.0.2' && exit 0\n" +
		"echo '[ 1.00] sealbay: FAILED: the drive is on fire'; echo 'no such machine' >&2; exit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	out := filepath.Join(dir, "out", "run")
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, result), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	code := run(t.Context(), []string{"-out", out, "-image", dir}, &text, &text)
	if code != 1 || !strings.Contains(text.String(), "run: FAILED: qemu: exit status 1: no such machine: the drive is on fire (console: "+out+"/console.log)") {
		t.Errorf("exit code %d, said %q", code, text.String())
	}
	if _, err := os.Stat(filepath.Join(out, result)); err == nil {
		t.Error("the result of an older run stayed")
	}
	if log, err := os.ReadFile(filepath.Join(out, "console.log")); err != nil || !strings.Contains(string(log), "on fire") {
		t.Errorf("console.log: %q, %v", log, err)
	}
}
