package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// module is a small project with every way a test can end.
var module = map[string]string{
	"go.mod":           "module m\n\ngo 1.26\n",
	"good/a_test.go":   "package good\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\nfunc TestB(t *testing.T) { t.Run(\"sub\", func(t *testing.T) {}) }\n",
	"bad/a_test.go":    "package bad\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Error(\"three is not four\") }\nfunc TestB(t *testing.T) { t.Skip(\"no tape drive\") }\n",
	"crash/a_test.go":  "package crash\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { panic(\"out of paper\") }\n",
	"broken/a_test.go": "package broken\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { undefined() }\n",
	"slow/a_test.go":   "package slow\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestA(t *testing.T) { time.Sleep(time.Hour) }\n",
	"nothing/a.go":     "package nothing\n",
}

func inModule(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range module {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
}

func TestEveryEnd(t *testing.T) {
	inModule(t)
	for _, c := range []struct {
		name    string
		args    []string
		limit   time.Duration
		wantErr bool
		shows   []string // in all that is printed
	}{
		{"good", goTest("./good"), time.Minute, false, []string{"ok  ", "m/good", "1 packages, 3 tests passed, 0 failed, 0 skipped", "steps: 1 passed, 0 failed"}},
		{"bad", goTest("./bad"), time.Minute, true, []string{"--- FAIL: m/bad TestA", "three is not four", "skipped: m/bad TestB", "no tape drive", "0 tests passed, 1 failed, 1 skipped", "steps: 0 passed, 1 failed"}},
		{"crash", goTest("./crash"), time.Minute, true, []string{"out of paper", "FAIL", "m/crash"}},
		{"broken", goTest("./broken"), time.Minute, true, []string{"undefined: undefined", "FAIL"}},
		{"all", goTest("./good", "./bad", "./broken"), time.Minute, true, []string{"3 packages, 3 tests passed, 1 failed, 1 skipped", "m/good", "m/bad"}},
		{"none", goTest("./nothing"), time.Minute, true, []string{"no package has a test"}},
		{"slow", goTest("./slow"), 5 * time.Second, true, []string{"not done after 5s", "still running: m/slow"}},
		{"no such program", []string{"sealbay-no-such-program"}, time.Minute, true, []string{"executable file not found"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			r := &runner{out: t.TempDir(), stdout: &b}
			err := r.all(t.Context(), []step{{name: "step", why: "a test", limit: c.limit, args: c.args, tests: true}})
			if (err != nil) != c.wantErr {
				t.Errorf("error %v, want one: %v", err, c.wantErr)
			}
			for _, want := range c.shows {
				if !strings.Contains(b.String(), want) {
					t.Errorf("does not show %q:\n%s", want, b.String())
				}
			}
			kept, err := os.ReadFile(filepath.Join(r.out, "summary.txt"))
			if err != nil || !strings.HasSuffix(b.String(), string(kept)) {
				t.Errorf("the summary kept (%v) is not what was printed last:\n%s", err, kept)
			}
		})
	}
}

func TestBadUsage(t *testing.T) {
	for _, args := range [][]string{{"-only", "nosuchstep"}, {"stray"}, {"-nosuchflag"}} {
		var b strings.Builder
		if code := run(t.Context(), args, &b, &b); code != 2 || !strings.Contains(b.String(), strings.TrimLeft(args[len(args)-1], "-")) {
			t.Errorf("%v: exit %d, said %q", args, code, b.String())
		}
	}
}

// TestOldKernel: the step vm-6.1 boots the image that the step before it made.
func TestOldKernel(t *testing.T) {
	made, err := chosen("image-6.1,vm-6.1")
	if err != nil {
		t.Fatal(err)
	}
	args, err := made[1].more()
	if err != nil {
		t.Fatal(err)
	}
	if out := made[0].args[len(made[0].args)-1]; !strings.HasSuffix(args[1], "/"+out) || len(made) != 2 {
		t.Errorf("%q makes %s, %q uses %s", made[0].name, out, made[1].name, args[1])
	}
}

// TestVMPackages: the step vm must never run over nothing.
func TestVMPackages(t *testing.T) {
	t.Chdir("../..")
	dirs, err := vmPackages()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"./blockcrypt", "./blockcrypt/blockdev/direct"} {
		if !strings.Contains(strings.Join(dirs, " ")+" ", want+" ") {
			t.Errorf("%s is not among %v", want, dirs)
		}
	}
}
