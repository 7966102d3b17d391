package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is what stands for a test binary: it shows where it runs, and exits
// with 7.
const program = `package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	words, err := os.ReadFile("testdata/words")
	fmt.Printf("words: %s%v\n", words, err)
	fmt.Printf("args: %q vm: %s\n", os.Args[1:], os.Getenv("SEALBAY_VM"))
	out, err := exec.Command("cryptsetup", "--version").CombinedOutput()
	fmt.Printf("judge: %s%v\n", out, err)
	os.Exit(7)
}
`

// TestRun boots a machine: all that a test needs is there, and its exit code
// is ours.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "some.test")
	if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var stdout, stderr strings.Builder
	code := run(t.Context(), []string{"-pack", "cryptsetup", "-limit", "2m", binary, "-test.run=^(A|B)$", "two words", `a"quote`}, &stdout, &stderr)
	if code != 7 || stderr.Len() > 0 {
		t.Errorf("exit code %d, want 7; %s", code, stderr.String())
	}
	for _, want := range []string{"words: goes along\n<nil>", `args: ["-test.run=^(A|B)$" "two words" "a\"quote"] vm: 1`, "judge: cryptsetup 2.", "exit status 7"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the console does not show %q:\n%s", want, stdout.String())
		}
	}
}

func TestUsage(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		args  []string
		code  int
		wrong string
	}{
		{nil, 2, "usage: vmrun"},
		{[]string{"-nosuch", "x"}, 2, "-nosuch"},
		{[]string{"-image", empty, "x"}, 1, "no image: run make image"},
		{[]string{"/no/such.test"}, 1, "packing /test/such.test: open /no/such.test"},
		{[]string{"-pack", "no-such-program", "/bin/true"}, 1, `"no-such-program": executable file not found in $PATH: run scripts/setup.sh`},
	} {
		var out strings.Builder
		if code := run(t.Context(), c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.wrong) {
			t.Errorf("%q: exit code %d, %q; want %d and %q", c.args, code, out.String(), c.code, c.wrong)
		}
	}
}

// TestPackTakesLibraries: a program that is linked with others brings them.
func TestPackTakesLibraries(t *testing.T) {
	files, err := packPrograms([]string{"cryptsetup", "mkfs.ext4"})
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, f := range files {
		names += " " + f.Name
	}
	for _, want := range []string{"/bin/cryptsetup", "/bin/mkfs.ext4", "libcryptsetup.so", "libc.so.6", "ld-linux-x86-64.so"} {
		if !strings.Contains(names, want) {
			t.Errorf("%s is missing among%s", want, names)
		}
	}
}

func TestBlankDrives(t *testing.T) {
	made, err := blankDrives(t.TempDir())
	if err != nil || len(made) != 3 {
		t.Fatal(made, err)
	}
	for _, d := range made {
		if info, err := os.Stat(d.Path); err != nil || info.Size() != driveBytes || time.Since(info.ModTime()) > time.Minute {
			t.Errorf("%s: %v, %v", d.Serial, info, err)
		}
	}
}
