package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
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
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SOCK", filepath.Join(e.WorkDir, "s"))
			return os.Chmod(e.WorkDir, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serving":   serving,
			"truncate":  truncate,
			"overwrite": overwrite,
		},
	})
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
