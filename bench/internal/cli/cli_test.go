package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
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
		// O_DIRECT needs no tmpfs: the work folder is on the system drive.
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
	var out, err bytes.Buffer
	cwd, e := os.Getwd()
	ts.Check(errors.Join(e, os.Chdir(ts.MkAbs("."))))
	code := Run(context.Background(), args[1:], strings.NewReader(""), &out, &err)
	ts.Check(errors.Join(os.Chdir(cwd), os.WriteFile(ts.MkAbs("out"), out.Bytes(), 0o600), os.WriteFile(ts.MkAbs("err"), err.Bytes(), 0o600)))
	if want := args[0]; want != string(rune('0'+code)) {
		ts.Fatalf("exit code %d, want %s\n%s%s", code, want, out.String(), err.String())
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
