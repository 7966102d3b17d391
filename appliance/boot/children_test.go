package boot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain: in a process of its own, which may take in orphans as PID 1 does.
func TestMain(m *testing.M) {
	if os.Getenv("SEALBAY_TEST_REAPER") == "" {
		os.Exit(m.Run())
	}
	if err := reaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestChildren(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SEALBAY_TEST_REAPER=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func reaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	c := newChildren()
	attr := &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}}
	for script, want := range map[string]int{
		"exit 0":                         0,
		"exit 7":                         7,
		"kill -9 $$":                     137,
		"sleep 0.3 & sleep 0.1 & exit 3": 3, // leaves two orphans
	} {
		if got, err := c.run("/bin/sh", []string{"sh", "-c", script}, attr); err != nil || got != want {
			return fmt.Errorf("%s: exit code %d, %v; want %d", script, got, err, want)
		}
	}
	if _, err := c.run("/no/such/program", []string{"x"}, attr); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		return fmt.Errorf("a missing program: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); !c.none(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			left, _ := os.ReadFile("/proc/self/task/" + fmt.Sprint(os.Getpid()) + "/children")
			return fmt.Errorf("orphans were not taken in: %s", left)
		}
	}
	return nil
}

func TestNoSwap(t *testing.T) {
	head := "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for text, wrong := range map[string]string{
		"":                                    "",
		head:                                  "",
		head + "/dev/sda2 partition 1 0 -2\n": "swap is on at /dev/sda2",
	} {
		path := filepath.Join(t.TempDir(), "swaps")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := noSwap(path)
		if (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v, want %q", text, err, wrong)
		}
	}
	if err := noSwap("/no/such/file"); err != nil {
		t.Error(err)
	}
}
