package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake puts programs on PATH that print text and exit with code.
func fake(t *testing.T, programs map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func setup(args ...string) (string, error) {
	out, err := exec.Command("bash", append([]string{"setup.sh"}, args...)...).CombinedOutput()
	return string(out), err
}

// TestSetupTwice: where all is there, setup does nothing, and fast.
func TestSetupTwice(t *testing.T) {
	fake(t, map[string]string{"apt-get": "echo touched apt >&2; exit 1"})
	start := time.Now()
	out, err := setup()
	if err != nil || out != "setup: everything is installed\n" {
		t.Errorf("%v: %s", err, out)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v with nothing to do", took)
	}
}

// TestSetupRefuses: one line that says what is wrong and what to do.
func TestSetupRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		programs map[string]string
		want     string
	}{
		"old Go":     {map[string]string{"go": "echo go1.22.3"}, "setup: Go 1.22.3 is too old: go.mod asks for 1.26"},
		"old patch":  {map[string]string{"go": "echo go1.26.3"}, "setup: Go 1.26.3 is too old: go.mod asks for 1.26.4"},
		"candidate":  {map[string]string{"go": "echo go1.26rc1"}, "setup: Go 1.26rc1 is too old"},
		"broken Go":  {map[string]string{"go": "exit 1"}, "setup: go env GOVERSION failed"},
		"not root":   {map[string]string{"id": "echo 1000"}, "setup: needs root"},
		"other arch": {map[string]string{"dpkg": "echo arm64"}, "setup: the image is built and run on amd64; this machine is arm64"},
		"broken apt": {map[string]string{"apt-get": "exit 100", "dpkg-query": "exit 1"}, "setup: "},
	} {
		t.Run(name, func(t *testing.T) {
			fake(t, c.programs)
			out, err := setup()
			if name == "broken apt" && !strings.Contains(out, "apt") {
				t.Errorf("%q does not say that it is apt", out)
			}
			if err == nil || !strings.HasPrefix(out, c.want) || name != "broken apt" && strings.Count(out, "\n") != 1 {
				t.Errorf("%v: %q; want one line, %q", err, out, c.want)
			}
		})
	}
	t.Run("no Go", func(t *testing.T) {
		bash, err := exec.LookPath("bash")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir() // what setup.sh needs to get there, and no go
		for _, name := range []string{"dirname", "awk", "sort", "head", "id"} {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(bash, "setup.sh")
		cmd.Env = []string{"PATH=" + dir}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), "setup: Go is missing: install Go 1.26") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v: %q", err, out)
		}
	})
}

// TestBackportsEntry: of either of apt's formats the mirror, keyring and
// options stay, the suite changes.
func TestBackportsEntry(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"a.list", "# c\ndeb-src http://m.example/d bookworm main\ndeb http://m.example/d bookworm main contrib\n",
			"deb http://m.example/d bookworm-backports main\n"},
		{"b.list", "deb http://m.example/d bookworm-updates main\ndeb [signed-by=/k.gpg arch=amd64]  https://m.example/d   bookworm  main\n",
			"deb [signed-by=/k.gpg arch=amd64]  https://m.example/d bookworm-backports main\n"},
		{"c.sources", "Types: deb\nURIs: http://s.example/s\nSuites: bookworm-security\nComponents: main\n\n" +
			"Types: deb deb-src\nURIs: http://m.example/d\nSuites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /k.gpg\n",
			"Types: deb deb-src\nURIs: http://m.example/d\nSuites: bookworm-backports\nComponents: main\nSigned-By: /k.gpg\n"},
		{"d.sources", "Enabled: no\nTypes: deb\nURIs: http://no.example/d\nSuites: bookworm\nComponents: main\n\n" +
			"# the good one\nTypes: deb\nURIs: http://m.example/d\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n",
			"# the good one\nTypes: deb\nURIs: http://m.example/d\nSuites: bookworm-backports\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n"},
		{"e.list", "deb http://m.example/d trixie main\n", ""},
	} {
		path := filepath.Join(t.TempDir(), c.file)
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("bash", "-c", "source ./setup.sh; backports_entry "+path).CombinedOutput()
		if err != nil || string(out) != c.want {
			t.Errorf("%s: %v\n%q\nwant\n%q", c.file, err, out, c.want)
		}
	}
}
