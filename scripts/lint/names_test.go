package lint

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// machinePaths are paths that exist on somebody's machine only.
var machinePaths = regexp.MustCompile(`(^|[^A-Za-z0-9_./-])(/work/|/root/|/home/[a-z])`)

// public are hosts that anybody may name.
var public = []string{"deb.debian.org", "security.debian.org", "proxy.golang.org", "registry.npmjs.org"}

// TestNoMachineNames: the product is built anywhere, from the mirrors that the
// machine is set up for.
func TestNoMachineNames(t *testing.T) {
	r := theRepo(t)
	hosts := ownHosts(t, r.root)
	for _, file := range r.files {
		if under(file, "scripts/lint") || strings.HasSuffix(file, ".o") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(r.root, file))
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			if m := machinePaths.FindStringSubmatch(line); m != nil {
				t.Errorf("%s:%d names a path of one machine (%s): others have no such folder", file, n+1, m[2])
			}
			if i := slices.IndexFunc(hosts, func(h string) bool { return strings.Contains(line, h) }); i >= 0 {
				t.Errorf("%s:%d names this machine's registry or mirror: take it from the machine's configuration", file, n+1)
			}
		}
	}
}

// ownHosts are the hosts of the registries that this machine uses, as apt and
// go are told, less those that are everybody's.
func ownHosts(t *testing.T, root string) []string {
	t.Helper()
	goproxy, err := output(root, "go", "env", "GOPROXY")
	if err != nil {
		t.Fatal(err)
	}
	sites, err := output(root, "apt-get", "indextargets", "--format", "$(SITE)")
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for _, word := range strings.FieldsFunc(goproxy+","+sites, func(r rune) bool { return strings.ContainsRune(",| \n", r) }) {
		u, err := url.Parse(word)
		if err == nil && u.Hostname() != "" && !slices.Contains(public, u.Hostname()) && u.Hostname() != "localhost" {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}
