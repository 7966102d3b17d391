package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealbay/image/initramfs"
	"sealbay/image/kernel"
)

func pinned(t *testing.T) *kernel.Kernel {
	t.Helper()
	lock, err := kernel.Pinned()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(t.Context(), FromEnvironment(lock, os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestSameBytes: two builds in different folders differ in nothing.
func TestSameBytes(t *testing.T) {
	k := pinned(t)
	spec := Spec{
		Modules:  []string{"dm_crypt", "nvme"},
		Programs: map[string]string{"sealbay/appliance/cmd/init": "/init", "github.com/u-root/u-root/cmds/core/ls": "/bin/ls"},
		Files:    []initramfs.File{{Name: "/etc/x", Mode: 0o644, Data: []byte("x")}},
	}
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	one, two := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "somewhere", "else")
	for _, out := range []string{one, two} {
		if err := Build(t.Context(), spec, k, out); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{KernelFile, InitramfsFile, ManifestFile} {
		a, err := os.ReadFile(filepath.Join(one, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(two, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(a) == 0 || !bytes.Equal(a, b) {
			t.Errorf("%s: %d and %d bytes, not the same", name, len(a), len(b))
		}
		for _, path := range []string{one, two, checkout + "/"} { // another checkout is to give the same bytes, too
			if bytes.Contains(a, []byte(path)) {
				t.Errorf("%s names the folder it was built in", name)
			}
		}
	}
	if left, err := filepath.Glob(one + "/bin-*"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	manifest, err := os.ReadFile(filepath.Join(one, ManifestFile))
	if err != nil || !strings.Contains(string(manifest), "kernel-source linux-signed-") || !strings.Contains(string(manifest), "program /init sealbay/appliance/cmd/init") {
		t.Errorf("manifest (%v):\n%s", err, manifest)
	}
}

// TestSpecIsWhole: every module of the appliance is in the kernel package, with
// what it depends on.
func TestSpecIsWhole(t *testing.T) {
	spec, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	files, err := moduleFiles(pinned(t), spec.Modules)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < len(spec.Modules) {
		t.Errorf("%d modules named, %d files packed", len(spec.Modules), len(files))
	}
	for _, want := range []string{"/etc/sealbay/firstrun.job", "/etc/sealbay/hello.job", "/sbin/modprobe"} {
		found := false
		for _, f := range spec.Files {
			found = found || f.Name == want
		}
		if !found {
			t.Errorf("%s is not in the image", want)
		}
	}
}

func TestBuildNamesWhatDoesNotCompile(t *testing.T) {
	spec := Spec{Programs: map[string]string{"sealbay/no/such/program": "/bin/x"}}
	err := Build(t.Context(), spec, pinned(t), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "sealbay/no/such/program") {
		t.Errorf("%v", err)
	}
}

// TestOutIsIgnored: nothing that is built gets into git.
func TestOutIsIgnored(t *testing.T) {
	root := t.TempDir()
	for range 2 {
		if err := ignored(filepath.Join(root, "out", "image")); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(root, "out", ".gitignore")); err != nil || string(text) != "*\n" {
		t.Errorf("%q, %v", text, err)
	}
	elsewhere := filepath.Join(root, "elsewhere")
	if err := ignored(elsewhere); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("made a folder that is not ours")
	}
}
