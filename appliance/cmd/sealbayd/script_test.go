package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sealbay/appliance/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sealbayd": main,
		"qq": func() {
			os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScripts runs what stands in testdata, as a user would type it, against
// the real daemon on files.
func TestScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: the state folder's files must be root's; run the tests as root")
	}
	testscript.Run(t, params("testdata"))
}

// params are what the scripts in dir may use.
func params(dir string) testscript.Params {
	return testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			// Beside the work folder, which other users cannot enter.
			dir, err := os.MkdirTemp("", "sealbayd")
			if err != nil {
				return err
			}
			e.Defer(func() { os.RemoveAll(dir) })
			e.Setenv("SOCK", filepath.Join(dir, "s"))
			port, err := freePort()
			e.Setenv("PORT", port)
			return errors.Join(err, os.Chmod(dir, 0o755))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serving":     serving,
			"truncate":    truncate,
			"overwrite":   overwrite,
			"until":       until,
			"fingerprint": fingerprint,
			"masked":      masked,
		},
	}
}

// What differs from run to run.
var (
	anyTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	anyHash = regexp.MustCompile(`[0-9a-f]{64}`)
	anyPID  = regexp.MustCompile(`"pid": \d+`)
)

// masked compares the last standard output, to the byte, with a file: masked
// FILE. Times, UUIDs and the like are replaced by words before.
func masked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: masked FILE")
	}
	got := ts.ReadFile("stdout")
	for _, m := range []struct {
		re   *regexp.Regexp
		word string
	}{{anyTime, "TIME"}, {anyHash, "HASH"}, {anyUUID, "UUID"}, {anyPID, `"pid": PID`}} {
		got = m.re.ReplaceAllString(got, m.word)
	}
	got = strings.ReplaceAll(got, ts.Getenv("WORK"), "WORK")
	if want := ts.ReadFile(args[0]); got != want {
		ts.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

// freePort returns a TCP port on which nobody listens now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// fingerprint takes the first hash out of an output into $FINGERPRINT:
// fingerprint FILE
func fingerprint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fingerprint FILE")
	}
	ts.Setenv("FINGERPRINT", anyHash.FindString(ts.ReadFile(args[0])))
}

// serving waits until the socket answers: serving PATH
func serving(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serving SOCKET")
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", args[0]); err == nil {
			ts.Check(c.Close())
			return
		}
	}
	ts.Fatalf("nobody answers on %s", args[0])
}

// until runs a command again and again until its output matches: until
// REGEXP COMMAND...
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	out := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ts.Exec(args[1], args[2:]...); err == nil {
			if out = ts.ReadFile("stdout"); re.MatchString(out) {
				return
			}
		}
	}
	ts.Fatalf("%q never said %q; last: %v\n%s", args[1:], args[0], err, out)
}

// truncate makes or resizes files: truncate MIB FILE...
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: truncate MIB FILE...")
	}
	mib, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	for _, name := range args[1:] {
		f, err := os.OpenFile(ts.MkAbs(name), os.O_RDWR|os.O_CREATE, 0o600)
		ts.Check(err)
		ts.Check(f.Truncate(mib << 20))
		ts.Check(f.Close())
	}
}

// overwrite puts text into a file at a place: overwrite FILE OFFSET TEXT
func overwrite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: overwrite FILE OFFSET TEXT")
	}
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	_, err = f.WriteAt([]byte(args[2]), off)
	ts.Check(err)
	ts.Check(f.Close())
}
