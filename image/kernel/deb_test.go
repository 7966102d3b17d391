package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makeDeb lets dpkg-deb pack files into a package of that name.
func makeDeb(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files["DEBIAN/control"] = "Package: " + name + "\nVersion: 1.2-3\nSource: linux-test (1.2)\nArchitecture: amd64\nMaintainer: nobody <n@example.com>\nDescription: test\n"
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	deb := filepath.Join(t.TempDir(), name+"_1.2-3_amd64.deb")
	run(t, "dpkg-deb", "-Zxz", "--root-owner-group", "--build", root, deb)
	return deb
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v (run scripts/setup.sh): %s", name, err, out)
	}
	return string(out)
}

// tinyKernel has all that a kernel package needs, but no kernel.
func tinyKernel(t *testing.T) string {
	return makeDeb(t, "linux-image-test", map[string]string{
		"boot/vmlinuz-1.2-amd64":                      "kernel",
		"boot/config-1.2-amd64":                       "not wanted",
		"lib/modules/1.2-amd64/modules.builtin":       "kernel/a/built-in.ko\n",
		"lib/modules/1.2-amd64/kernel/fs/my-fs.ko.xz": "module",
		"lib/modules/1.2-amd64/kernel/fs/plain.ko":    "module",
		"lib/modules/1.2-amd64/kernel/fs/other.o":     "not wanted",
		"usr/share/doc/linux-image-test/changelog.gz": "not wanted",
	})
}

func TestUnpack(t *testing.T) {
	k, err := unpackInto(t.Context(), tinyKernel(t), filepath.Join(t.TempDir(), "cache", "k"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Control{"linux-image-test", "1.2-3", "linux-test (1.2)"}); k.Control != want || k.Release != "1.2-amd64" {
		t.Errorf("%+v of release %q", k.Control, k.Release)
	}
	if data, err := os.ReadFile(k.Image); err != nil || string(data) != "kernel" {
		t.Errorf("kernel: %q, %v", data, err)
	}
	if len(k.Modules.paths) != 2 || k.Modules.paths["my_fs"] != "kernel/fs/my-fs.ko.xz" || k.Modules.paths["plain"] != "kernel/fs/plain.ko" || !k.Modules.builtin["built_in"] {
		t.Errorf("%+v", k.Modules)
	}
	if s, err := k.Modules.Select([]string{"built-in"}); err != nil || len(s) != 0 {
		t.Errorf("what is built in needs nothing: %v, %v", s, err)
	}
	if _, err := k.Modules.Select([]string{"nonesuch"}); err == nil || !strings.Contains(err.Error(), "module nonesuch is not in the kernel package") {
		t.Errorf("an unknown module: %v", err)
	}
	for _, name := range []string{"my-fs.ko.xz", "plain.ko"} {
		module, _, _ := strings.Cut(name, ".")
		if _, err := k.Modules.Select([]string{module}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s, which is no module: %v", name, err)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	good, err := os.ReadFile(tinyKernel(t))
	if err != nil {
		t.Fatal(err)
	}
	noKernel, err := os.ReadFile(makeDeb(t, "hello", map[string]string{"usr/bin/hello": "hello"}))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data  string
		wrong string
	}{
		"empty file":      {"", "not a Debian package"},
		"something else":  {strings.Repeat("x", 200), "not a Debian package"},
		"no kernel":       {string(noKernel), "not a kernel package"},
		"cut in the data": {string(good[:len(good)-40]), "data.tar.xz"},
		"cut in a header": {string(good[:80]), "no member"},
		"bad header":      {string(good[:66]) + "!!" + string(good[68:]), "bad ar header at byte 8"},
		"flipped bit":     {flip(string(good), len(good)-60), "data.tar.xz"},
		"zstd":            {strings.Replace(string(good), "data.tar.xz ", "data.tar.zst", 1), "no member data.tar.xz"},
	} {
		deb, cache := filepath.Join(t.TempDir(), "k.deb"), filepath.Join(t.TempDir(), "kernel", "k")
		if err := os.WriteFile(deb, []byte(c.data), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := unpackInto(t.Context(), deb, cache)
		if err == nil || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), deb) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.wrong)
		}
		if left, err := os.ReadDir(filepath.Dir(cache)); err != nil || len(left) != 0 {
			t.Errorf("%s: left %v in the cache (%v)", name, left, err)
		}
	}
}

func flip(s string, at int) string {
	b := []byte(s)
	b[at] ^= 0x10
	return string(b)
}

// TestUnpackStaysInside: a package that names a path outside is refused.
func TestUnpackStaysInside(t *testing.T) {
	x := &unpacker{dir: t.TempDir()}
	err := x.write("modules/../../outside", strings.NewReader("x"))
	if err == nil || !strings.Contains(err.Error(), "refusing path") {
		t.Errorf("%v", err)
	}
}
