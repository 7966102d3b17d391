package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pinnedKernel is the kernel that the image is built with.
func pinnedKernel(t *testing.T) *Kernel {
	t.Helper()
	l, err := Pinned()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("SEALBAY_CACHE"); dir != "" {
		cache = dir
	} else {
		cache = filepath.Join(cache, "sealbay")
	}
	k, err := Open(t.Context(), Options{Lock: l, Cache: cache, Deb: os.Getenv("KERNEL_DEB"), Mirror: os.Getenv("KERNEL_MIRROR"), Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestDepmodAgrees lets depmod(8), which reads symbols and not .modinfo, judge
// our tables of real modules.
func TestDepmodAgrees(t *testing.T) {
	k := pinnedKernel(t)
	selected, err := k.Modules.Select([]string{"dm-crypt", "nvme", "ahci", "mlx5_core", "ext4", "mpt3sas", "nvmet_tcp", "usb_storage", "virtio_blk"})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir := filepath.Join(root, "lib/modules", k.Release)
	for _, m := range selected {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, m.Path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(m.File, filepath.Join(dir, m.Path)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "depmod", "-b", root, k.Release)
	for name, text := range map[string]string{"modules.dep": selected.Dep(), "modules.alias": selected.Alias(), "modules.softdep": selected.SoftDep()} {
		judge, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := canonical(name, text), canonical(name, string(judge))
		if len(ours) == 0 || !slices.Equal(ours, theirs) {
			t.Errorf("%s differs:\nonly ours: %q\nonly depmod's: %q", name, less(ours, theirs), less(theirs, ours))
		}
	}
}

// canonical sorts what has no order: lines, and the dependencies of a module,
// of which TestLoadOrder looks at the order.
func canonical(name, text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if name == "modules.dep" {
			slices.Sort(words[1:])
		}
		if name == "modules.softdep" { // ours has no post
			if i := slices.Index(words, "post:"); i >= 0 {
				words = words[:i]
			}
		}
		lines = append(lines, strings.Join(words, " "))
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

func less(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// TestLoadOrder: each module finds all it needs loaded before it.
func TestLoadOrder(t *testing.T) {
	k := pinnedKernel(t)
	selected, err := k.Modules.Select([]string{"mlx5_core", "dm_crypt", "nvmet_tcp"})
	if err != nil {
		t.Fatal(err)
	}
	loaded := map[string]bool{}
	for _, m := range selected {
		for _, dep := range m.Depends {
			if !loaded[dep] && !k.Modules.builtin[dep] {
				t.Errorf("%s comes before %s, which it needs", m.Name, dep)
			}
		}
		loaded[m.Name] = true
	}
	for line := range strings.Lines(selected.Dep()) {
		self, deps, _ := strings.Cut(strings.TrimSpace(line), ":")
		have := map[string]bool{}
		for _, path := range slices.Backward(strings.Fields(deps)) {
			have[nameIn(path)] = true
			for _, dep := range selected[slices.IndexFunc(selected, func(m Module) bool { return m.Path == path })].Depends {
				if !have[dep] && !k.Modules.builtin[dep] {
					t.Errorf("%s: %s stands before %s, which it needs", self, path, dep)
				}
			}
		}
	}
}

func nameIn(path string) string {
	return moduleName(strings.TrimSuffix(filepath.Base(path), ".ko.xz"))
}

func TestParseInfo(t *testing.T) {
	got := parseInfo("license=GPL\x00alias=pci:v1*\x00alias=fs-x\x00depends=a-b,c\x00softdep=pre: d-e f post: g\x00depends=\x00vermagic=6\x00")
	if !slices.Equal(got.Depends, []string{"a_b", "c"}) || !slices.Equal(got.Soft, []string{"d-e", "f"}) || !slices.Equal(got.Aliases, []string{"pci:v1*", "fs-x"}) {
		t.Errorf("%+v", got)
	}
}
