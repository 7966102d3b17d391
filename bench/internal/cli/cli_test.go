package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sealbench": func() { os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits CODE ARGS... runs sealbench and asserts its exit code; what it printed
// stands in the files out and err.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "WORK", ts.Getenv("WORK"))
	}
	code := 0
	// A process of its own: scripts run side by side, and each has its folder.
	if err := ts.Exec("sealbench", args[1:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running sealbench: %v", err)
		}
		code = exit.ExitCode()
	}
	out, err := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	ts.Check(errors.Join(os.WriteFile(ts.MkAbs("out"), []byte(out), 0o600), os.WriteFile(ts.MkAbs("err"), []byte(err), 0o600)))
	if want := args[0]; want != strconv.Itoa(code) {
		ts.Fatalf("exit code %d, want %s\n%s%s", code, want, out, err)
	}
}

// TestInterrupted: what was measured so far is printed and marked, and nothing
// is left behind.
func TestInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	// A line of progress from beyond the first round pulls the plug.
	stderr := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), " of 500") && !strings.Contains(string(p), "round 1 of") {
			cancel()
		}
		return len(p), nil
	})
	code := Run(ctx, []string{"run", "--size", "32MiB", "--rounds", "500", "--round-time", "10ms", "--json", "r.json"}, nil, &out, stderr)
	if code != 1 || !strings.Contains(out.String(), "PARTIAL RESULT (interrupted)") || !strings.Contains(out.String(), "PARTIAL RESULT: interrupted") {
		t.Errorf("exit code %d\n%s", code, out.String())
	}
	text, err := os.ReadFile("r.json")
	if err != nil || !strings.Contains(string(text), `"status": "partial"`) {
		t.Errorf("JSON: %v\n%s", err, text)
	}
	if names, _ := filepath.Glob("*"); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	if names, _ := filepath.Glob(".*"); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

var _ io.Writer = writerFunc(nil)
