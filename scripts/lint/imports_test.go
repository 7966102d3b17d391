package lint

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// walls: packages below from must not import, in their tests neither, what
// lies below any of not.
var walls = []struct {
	from   string
	not    []string
	reason string
}{
	{"blockcrypt", []string{"keyring"}, "blockcrypt is handed a key and never asks where it comes from, so that sealvol needs no keyring"},
	{"keyring", []string{"blockcrypt"}, "keyring knows keys and never drives, so that a key store can be judged alone"},
	{"blockcrypt", []string{"appliance", "bench", "image", "scripts"}, "a library does not lean on what is built upon it"},
	{"keyring", []string{"appliance", "bench", "image", "scripts"}, "a library does not lean on what is built upon it"},
	{"bench", []string{"appliance", "image", "scripts"}, "the bench runs on any host, without the daemon"},
	{"appliance", []string{"image", "scripts"}, "the box does not know how it is built"},
	{"image", []string{"appliance", "blockcrypt", "keyring", "bench", "scripts"}, "the builder knows the box's programs by name only, so that it builds any version of them"},
	{"scripts", []string{"appliance", "blockcrypt", "keyring", "bench"}, "scripts judge the product from outside, as a user would"},
}

func TestWalls(t *testing.T) {
	r := theRepo(t)
	for _, wall := range walls {
		for _, p := range r.packages {
			if !under(p.path(), wall.from) {
				continue
			}
			for _, imported := range p.imports() {
				to, ours := strings.CutPrefix(imported, "sealbay/")
				if ours && slices.ContainsFunc(wall.not, func(not string) bool { return under(to, not) }) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, wall.reason)
				}
			}
		}
	}
}

// TestNoNetworkBelow: what is linked in counts, not only what is imported.
func TestNoNetworkBelow(t *testing.T) {
	for _, p := range theRepo(t).packages {
		if under(p.path(), "blockcrypt") && slices.Contains(p.Deps, "net/http") {
			t.Errorf("%s links net/http: blockcrypt never knows HTTP", p.ImportPath)
		}
	}
}

func TestQQLinksOnlyTheClient(t *testing.T) {
	found := false
	for _, p := range theRepo(t).packages {
		if p.path() != "appliance/cmd/qq" {
			continue
		}
		found = true
		for _, dep := range p.Deps {
			if to, ours := strings.CutPrefix(dep, "sealbay/"); ours && to != "appliance/cli" && to != "appliance/rest" {
				t.Errorf("qq links %s: it talks to the daemon and touches no drive and no key itself", dep)
			}
		}
	}
	if !found {
		t.Error("appliance/cmd/qq is gone: this rule looks at nothing")
	}
}

// lowLevel says where which package may be used, test files aside.
var lowLevel = []struct {
	imported string
	folders  []string // path.Match on the file's path or a folder above it
	reason   string
}{
	{"golang.org/x/sys/unix", []string{
		"blockcrypt/blockdev", "blockcrypt/blocktest", "blockcrypt/internal/locked", "blockcrypt/cmd/blockload", "blockcrypt/xts",
		"keyring/key.go", "keyring/quiet.go", "appliance/boot", "appliance/export", "bench/probe", "bench/cipher",
	}, "system calls stand in few places where who knows them looks at them; what others need gets a function there"},
	{"unsafe", []string{
		"blockcrypt/blockdev", "blockcrypt/blocktest", "blockcrypt/internal/locked", "blockcrypt/xts",
		"keyring/key.go", "appliance/boot", "appliance/export", "bench/probe", "bench/cipher",
	}, "memory outside the Go heap stands in few places where who knows it looks at it"},
	{"github.com/cilium/ebpf", []string{"bench/probe"}, "probes can be left out of every other program"},
}

func TestLowLevel(t *testing.T) {
	for _, f := range theRepo(t).goFiles(t, false) {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, rule := range lowLevel {
				if under(imported, rule.imported) && !allowed(f.path, rule.folders) {
					t.Errorf("%s imports %s: %s", f.path, imported, rule.reason)
				}
			}
		}
	}
}

func allowed(file string, folders []string) bool {
	for dir := file; dir != "."; dir = path.Dir(dir) {
		if slices.Contains(folders, dir) {
			return true
		}
	}
	return false
}
