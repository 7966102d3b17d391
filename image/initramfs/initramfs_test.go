package initramfs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func pack(t *testing.T, files ...File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, files); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCPIOReadsIt lets GNU cpio unpack what we wrote.
func TestCPIOReadsIt(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	if err := os.WriteFile(from, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := pack(t,
		File{Name: "/z", Mode: 0o600, Data: []byte("odd")},
		File{Name: "/bin/prog", Mode: 0o755, From: from},
		File{Name: "/bin/link", Target: "/bin/prog"},
		File{Name: "/a/b/c/empty", Mode: 0o644},
	)
	dir := t.TempDir()
	cmd := exec.Command("cpio", "--extract", "--make-directories", "--quiet", "--no-absolute-filenames")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio (Debian package cpio): %v: %s", err, out)
	}
	for name, want := range map[string]string{"z": "odd", "bin/prog": "from a file", "a/b/c/empty": ""} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "bin/link")); err != nil || target != "/bin/prog" {
		t.Errorf("link: %q, %v", target, err)
	}
	for name, want := range map[string]os.FileMode{"z": 0o600, "bin/prog": 0o755, "a/b": os.ModeDir | 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info, err, want)
		}
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	a, b := File{Name: "/bin/a", Mode: 0o755, Data: []byte("a")}, File{Name: "/b", Mode: 0o644, Data: []byte("bb")}
	if !bytes.Equal(pack(t, a, b), pack(t, b, a)) {
		t.Error("the same files in another order give other bytes")
	}
}

func TestRefuses(t *testing.T) {
	for wrong, files := range map[string][]File{
		"/x is in the image twice":                     {{Name: "/x"}, {Name: "/x", Data: []byte("1")}},
		"packing x: not a clean absolute path":         {{Name: "x"}},
		"packing /a/../x: not a clean absolute path":   {{Name: "/a/../x"}},
		"packing /x: open /no/such/file: no such file": {{Name: "/x", From: "/no/such/file"}},
	} {
		if err := Write(new(bytes.Buffer), files); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("error %v, want %q", err, wrong)
		}
	}
}
