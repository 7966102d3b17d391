package main

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// TestRun is a short run against the real openssl.
func TestRun(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--rounds", "1", "--sectors", "4096"}, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	rows := 0
	for _, line := range strings.Split(out.String(), "\n") {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "aes-256-xts" {
			continue
		}
		rows++
		for _, i := range []int{3, 4, 5} {
			if v, err := strconv.ParseFloat(f[i], 64); err != nil || v <= 0 {
				t.Errorf("column %d of %q: %v", i, line, err)
			}
		}
	}
	if rows != 2 || !strings.Contains(out.String(), "OpenSSL") {
		t.Errorf("%d rows, want encrypt and decrypt:\n%s", rows, &out)
	}
}

func TestRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--rounds 0":    "--rounds 0",
		"--seconds 0":   "--seconds 0",
		"--bits 192":    `"192"`,
		"--sectors x":   `"x"`,
		"file":          `unexpected argument "file"`,
		"--nonexistent": "nonexistent",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), nil, &out, &errs); code != 2 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit %d, %s", args, code, &errs)
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--rounds", "1", "--impl", "rot13"}, nil, &out, &errs); code != 1 || !strings.Contains(errs.String(), "rot13") {
		t.Errorf("unknown implementation: exit %d, %s", code, &errs)
	}
}
