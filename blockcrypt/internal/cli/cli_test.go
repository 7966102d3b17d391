package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sealvol": func() { os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fill": fill, "flip": flip, "forge": forge, "needs": needs, "oneline": oneLine,
		},
	})
}

// needs fails the test if a program is missing: needs PROGRAM PACKAGE.
func needs(ts *testscript.TestScript, _ bool, args []string) {
	for _, dir := range append(strings.Split(ts.Getenv("PATH"), ":"), "/usr/sbin", "/sbin") {
		if _, err := os.Stat(dir + "/" + args[0]); err == nil {
			return
		}
	}
	ts.Fatalf("%s is missing: apt-get install %s", args[0], args[1])
}

// oneline checks that the last command said one line on standard error.
func oneLine(ts *testscript.TestScript, _ bool, _ []string) {
	text := ts.ReadFile("stderr")
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "sealvol: ") {
		ts.Fatalf("not one line: %q", text)
	}
}

// fill writes a file of one byte's repetition: fill FILE BYTE COUNT.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte(args[1]), n), 0o600))
}

// flip inverts a bit of a byte in a file: flip FILE OFFSET.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	edit(ts, args[0], func(f *os.File) {
		b := make([]byte, 1)
		_, err := f.ReadAt(b, off)
		ts.Check(err)
		b[0] ^= 1
		_, err = f.WriteAt(b, off)
		ts.Check(err)
	})
}

// forge replaces text in both header copies and mends their checksums:
// forge FILE OLD NEW.
func forge(ts *testscript.TestScript, _ bool, args []string) {
	edit(ts, args[0], func(f *os.File) {
		for _, off := range []int64{0, 16384} {
			b := make([]byte, 16384)
			_, err := io.ReadFull(io.NewSectionReader(f, off, 16384), b)
			ts.Check(err)
			text := bytes.TrimRight(b[4096:], "\x00")
			if !bytes.Contains(text, []byte(args[1])) {
				ts.Fatalf("no %q in %s", args[1], text)
			}
			text = bytes.Replace(text, []byte(args[1]), []byte(args[2]), 1)
			clear(b[4096:])
			copy(b[4096:], text)
			clear(b[448:512])
			sum := sha256.Sum256(b)
			copy(b[448:], sum[:])
			_, err = f.WriteAt(b, off)
			ts.Check(err)
		}
	})
}

func edit(ts *testscript.TestScript, name string, do func(*os.File)) {
	f, err := os.OpenFile(ts.MkAbs(name), os.O_RDWR, 0)
	ts.Check(err)
	do(f)
	ts.Check(f.Close())
}

func TestSize(t *testing.T) {
	for text, want := range map[string]size{"0": 0, "4096": 4096, "64KiB": 65536, "3MiB": 3 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40} {
		var s size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1K", "KiB", "9999999999TiB", "1.5MiB", "1 MiB"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken as %d", text, s)
		}
	}
}

// Standard input that ends or fails is an error, not a short key.
func TestKeyFromStdin(t *testing.T) {
	path := t.TempDir() + "/drive"
	if err := os.WriteFile(path, make([]byte, 24<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(stdin string, args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := Run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
		return code, errs.String()
	}
	key := strings.Repeat("k", 32)
	for _, c := range []struct {
		stdin string
		code  int
		text  string
	}{
		{"", 1, "reading key file -: not a key: it holds 0 bytes, want 32"},
		{key[:31], 1, "it holds 31 bytes"},
		{key + "\n", 1, "it holds more than 32 bytes"},
		{key, 0, ""},
	} {
		if code, errs := run(c.stdin, "format", "--key-file", "-", path); code != c.code || !strings.Contains(errs, c.text) {
			t.Errorf("with %d bytes: exit %d, %s", len(c.stdin), code, errs)
		}
	}
	if code, errs := run(key, "open-test", "--key-file", "-", path); code != 0 {
		t.Error(errs)
	}
}
