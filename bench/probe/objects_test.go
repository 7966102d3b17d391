package probe

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

// The committed objects are what the committed sources compile to.
func TestObjectsAreUpToDate(t *testing.T) {
	same := has("clang-14") && has("llvm-strip-14")
	if !same && !(has("clang") && has("llvm-strip")) {
		t.Fatal("clang or llvm-strip is missing: apt-get install clang llvm (scripts/setup.sh does)")
	}
	source, err := os.ReadFile("objects.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	commands := 0
	for line := range strings.Lines(string(source)) {
		command, ok := strings.CutPrefix(line, "//go:generate ")
		if !ok {
			continue
		}
		commands++
		command = strings.Replace(command, "bpf2go ", "bpf2go -output-dir "+dir+" ", 1)
		if !same {
			command = strings.ReplaceAll(command, "-14 ", " ")
		}
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = append(os.Environ(), "GOPACKAGE=probe")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	made, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * commands; commands == 0 || len(made) != want {
		t.Fatalf("%d commands made %d files, not %d", commands, len(made), want)
	}
	for _, path := range made {
		if same || !strings.HasSuffix(path, ".o") {
			sameFile(t, path, filepath.Base(path))
		} else {
			t.Logf("%s was compiled, but not compared: only clang 14 makes the same bytes", filepath.Base(path))
		}
	}
}

func has(tool string) bool {
	_, err := exec.LookPath(tool)
	return err == nil
}

func sameFile(t *testing.T, made, committed string) {
	t.Helper()
	a, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s is not what its source compiles to: run go generate ./bench/probe", committed)
	}
}

// What both sides of the shared memory believe of it.
func TestSlotLayout(t *testing.T) {
	var s stagesSlot
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"size", unsafe.Sizeof(s), 128},
		{"submitted", unsafe.Offsetof(s.Submitted), 0},
		{"started", unsafe.Offsetof(s.Started), 8},
		{"issued", unsafe.Offsetof(s.Issued), 16},
		{"completed", unsafe.Offsetof(s.Completed), 24},
		{"posted", unsafe.Offsetof(s.Posted), 32},
		{"parts", unsafe.Offsetof(s.Parts), 40},
		{"parts done", unsafe.Offsetof(s.PartsDone), 44},
	} {
		if f.got != f.want {
			t.Errorf("%s: %d bytes, want %d", f.name, f.got, f.want)
		}
	}
}
