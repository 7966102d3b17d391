package kernel

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lockOf is a lock for a package file.
func lockOf(t *testing.T, deb string) Lock {
	t.Helper()
	sum, err := fileSHA256(deb)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(deb)
	if err != nil {
		t.Fatal(err)
	}
	return Lock{Package: "linux-image-test", Version: "1.2-3", Path: "pool/k.deb", Size: info.Size(), SHA256: sum}
}

// said collects what the builder is told.
type said struct{ strings.Builder }

func (s *said) log(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func TestMirror(t *testing.T) {
	deb := tinyKernel(t)
	good, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	body, status := good, http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/debian/pool/k.deb" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		_, _ = w.Write(body) // the client may hang up, which is looked at there
	}))
	defer server.Close()
	var s said
	opt := Options{Lock: lockOf(t, deb), Cache: t.TempDir(), Mirror: server.URL + "/debian", Log: s.log}

	for name, c := range map[string]struct {
		body   []byte
		status int
		wrong  string
	}{
		"flipped bit": {[]byte(flip(string(good), 500)), 200, "wanted"},
		"cut":         {good[:500], 200, "500 bytes with sha256"},
		"endless":     {append(append([]byte{}, good...), make([]byte, 1<<20)...), 200, fmt.Sprintf("%d bytes with", len(good)+1)},
		"gone":        {nil, 404, "404 Not Found"},
	} {
		body, status = c.body, c.status
		if _, err := Open(t.Context(), opt); err == nil || !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.wrong)
		}
		if left, err := os.ReadDir(filepath.Join(opt.Cache, "kernel")); err != nil || len(left) != 0 {
			t.Errorf("%s: left %v in the cache (%v)", name, left, err)
		}
	}
	body, status = good, 200
	if k, err := Open(t.Context(), opt); err != nil || k.Release != "1.2-amd64" {
		t.Fatal(err)
	}
	server.Close()
	if _, err := Open(t.Context(), opt); err != nil {
		t.Errorf("the second time, from the cache: %v", err)
	}
	opt.Mirror, opt.Lock.SHA256 = "http://[bad", strings.Repeat("0", 64)
	if _, err := Open(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "KERNEL_MIRROR") {
		t.Errorf("an address that is none: %v", err)
	}
}

func TestNamedDeb(t *testing.T) {
	deb := tinyKernel(t)
	var s said
	opt := Options{Lock: lockOf(t, deb), Cache: t.TempDir(), Deb: deb, Log: s.log}
	if k, err := Open(t.Context(), opt); err != nil || k.Package != "linux-image-test" || s.Len() != 0 {
		t.Errorf("the pinned one: %v, said %q", err, s.String())
	}
	opt.Lock.SHA256 = strings.Repeat("0", 64)
	if _, err := Open(t.Context(), opt); err != nil || !strings.Contains(s.String(), "is not the pinned linux-image-test") {
		t.Errorf("another: %v, said %q", err, s.String())
	}
	opt.Deb = "/no/such.deb"
	if _, err := Open(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "KERNEL_DEB: open /no/such.deb") {
		t.Errorf("none: %v", err)
	}
}

// indexText is what apt-cache show prints, shortened; one package is known by
// name only and cannot be downloaded.
const indexText = `Package: linux-image-6.12.9+deb12-amd64
Source: linux-signed-amd64 (6.12.9+1)
Version: 6.12.9-1
Size: 100
Filename: pool/a.deb
SHA256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa

Package: linux-image-6.12.73+deb12-amd64
Source: linux-signed-amd64 (6.12.73+1)
Version: 6.12.73-1
Size: 200
Filename: pool/b.deb
SHA256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
Description: Linux
 words: more words

Package: linux-image-6.12.99+deb12-amd64
Version: 6.12.99-1
Status: install ok installed
`

// fakeApt puts an apt on PATH whose archive has lost the pinned version.
func fakeApt(t *testing.T, search, show string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \"$1 $2\" in\n" +
		"search*) cat '" + dir + "/search' ;;\n" +
		"'show linux-image-6.12.1-old=1') echo 'E: No packages found' >&2; exit 100 ;;\n" +
		"show*) cat '" + dir + "/show' ;;\nesac\n"
	for name, text := range map[string]string{"apt-cache": script, "search": search, "show": show} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestPinnedIsGone(t *testing.T) {
	fakeApt(t, "linux-image-6.12.9+deb12-amd64 - Linux\nlinux-image-6.12.73+deb12-amd64 - Linux\n", indexText)
	var s said
	got, err := resolve(t.Context(), Options{Lock: Lock{Package: "linux-image-6.12.1-old", Version: "1", File: "some.lock"}, Log: s.log})
	want := Lock{"linux-image-6.12.73+deb12-amd64", "6.12.73-1", "linux-signed-amd64 (6.12.73+1)", "pool/b.deb", 200, strings.Repeat("b", 64), ""}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if !strings.Contains(s.String(), "linux-image-6.12.1-old 1 is gone from the archive: using linux-image-6.12.73+deb12-amd64") ||
		!strings.Contains(s.String(), "image/kernel/some.lock wants an update") {
		t.Errorf("said %q", s.String())
	}
}

func TestNoKernelAtAll(t *testing.T) {
	fakeApt(t, "", "")
	_, err := resolve(t.Context(), Options{Lock: Lock{Package: "linux-image-6.12.1-old", Version: "1"}})
	if err == nil || !strings.Contains(err.Error(), "KERNEL_DEB=path") || !strings.Contains(err.Error(), "no generic 6.12 kernel: run scripts/setup.sh") {
		t.Errorf("%v: want the remedies named", err)
	}
}

// TestAptOffersKernels asks the real apt of this machine.
func TestAptOffersKernels(t *testing.T) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Fatal(err)
	}
	for _, pinned := range []func() (Lock, error){Pinned, Oldest} {
		want, err := pinned()
		if err != nil {
			t.Fatal(err)
		}
		if want.Series() == "6.1" && !strings.Contains(string(release), "VERSION_CODENAME=bookworm\n") {
			t.Skip("the 6.1 kernel is Debian 12's, and this is not Debian 12")
		}
		l, err := aptNewest(t.Context(), want.Series())
		if err != nil {
			t.Fatal(err)
		}
		if l.Series() != want.Series() || !aptHas(t.Context(), l) {
			t.Errorf("%+v", l)
		}
	}
}
