package durable_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sealbay/keyring/durable"
)

// folderVar has this test binary work on a folder, for strace to watch.
const folderVar = "DURABLE_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(folderVar); dir != "" {
		os.Exit(work(dir))
	}
	os.Exit(m.Run())
}

func work(dir string) int {
	f, err := durable.Open(dir)
	if err == nil {
		err = f.Replace("a", []byte("renewed"))
	}
	if err == nil {
		err = f.Remove("a")
	}
	if err != nil {
		println(err.Error())
		return 1
	}
	return 0
}

// The system calls are those that the package comment lists, in that order:
// what the power-cut tests model is what the kernel sees.
func TestSystemCalls(t *testing.T) {
	f, dir := make1(t)
	if err := errors.Join(f.Replace("a", []byte("old")), f.Close()); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command("strace", "-f", "-qq", "-y", "-e", "trace=openat,write,fsync,linkat,renameat,renameat2,unlinkat", "-o", log, os.Args[0])
	cmd.Env = append(os.Environ(), folderVar+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s; strace is the Debian package strace", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create .a.new", "write .a.new", "fsync .a.new", "linkat a .a.old", "renameat .a.new a", "fsync folder",
		"write .a.old", "fsync .a.old", "unlinkat .a.old", "fsync folder",
		"renameat a .a.old", "fsync folder", "write .a.old", "fsync .a.old", "unlinkat .a.old", "fsync folder",
	}
	if got := changes(string(text), dir); !slices.Equal(got, want) {
		t.Errorf("system calls\n%s\nwant\n%s\nin\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), text)
	}
}

var (
	created = regexp.MustCompile(`openat\([^,]*, "([^"]+)", [^)]*O_CREAT\|O_EXCL`)
	onFile  = regexp.MustCompile(`(write|fsync)\(\d+<([^>]+)>`)
	named   = regexp.MustCompile(`(linkat|renameat|unlinkat)2?\([^,]*, "([^"]+)"(?:, [^,]*, "([^"]+)")?`)
)

// changes picks from strace's lines those that change something in dir.
func changes(text, dir string) (all []string) {
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "<"+dir) {
			continue
		}
		if m := created.FindStringSubmatch(line); m != nil {
			all = append(all, "create "+m[1])
		} else if m := onFile.FindStringSubmatch(line); m != nil {
			name := strings.TrimPrefix(strings.TrimPrefix(m[2], dir), "/")
			if name == "" {
				name = "folder"
			}
			all = append(all, m[1]+" "+name)
		} else if m := named.FindStringSubmatch(line); m != nil {
			all = append(all, strings.TrimSpace(strings.Join(m[1:], " ")))
		}
	}
	return all
}
