package keyring_test

import (
	"crypto/rand"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"sealbay/keyring"
	"sealbay/keyring/keyringtest"
)

// A signal that meets a copy of a secret, or comes behind it, must find
// nothing of it in the registers that the kernel saves.
func TestQuietLeavesNothingInSignalFrames(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	loud := func(fn func() error) error { return fn() }
	for _, inside := range []bool{true, false} {
		seen := false
		for try := 0; try < 10 && !seen; try++ { // another signal may overwrite it
			seen = len(afterCopy(t, loud, inside)) > 0
		}
		if !seen {
			t.Error("a signal finds nothing of a copied secret even without Quiet: the test sees nothing")
		}
		if found := afterCopy(t, keyring.Quiet, inside); len(found) != 0 {
			t.Errorf("signal inside %v: %d pieces of the secret beside the two that were put there:\n%s", inside, len(found), strings.Join(found, "\n"))
		}
	}
}

// afterCopy copies a secret under how, with a signal inside of it or behind,
// and returns where else than there pieces of it are found. 192 bytes make Go's copy use all vector
// registers (runtime/memmove_amd64.s).
func afterCopy(t *testing.T, how func(func() error) error, inside bool) (elsewhere []string) {
	t.Helper()
	const size = 192
	from, err := keyring.NewBuffer(size)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := keyring.NewBuffer(size)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	_, _ = rand.Read(from.Bytes()) // documented never to fail
	signal := func() error { return syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGURG) }
	if err := how(func() error {
		copy(to.Bytes(), from.Bytes())
		if inside {
			return signal()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !inside {
		if err := signal(); err != nil {
			t.Fatal(err)
		}
	}
	for at := 0; at+keyring.KeySize <= size; at += 16 {
		n := keyringtest.MakeNeedle(from.Bytes()[at:])
		if copies := n.Find(t); len(copies) > 2 {
			elsewhere = append(elsewhere, copies...)
		}
	}
	return elsewhere
}

// The signals that a program takes must be the same before and after.
func TestQuietGivesSignalsBack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := blocked(t)
	if err := keyring.Quiet(func() error {
		if during := blocked(t); during == before {
			t.Errorf("no signal is blocked: %s", during)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if after := blocked(t); after != before {
		t.Errorf("blocked signals %s, before %s", after, before)
	}
}

func blocked(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "SigBlk:"); ok {
			return strings.TrimSpace(mask)
		}
	}
	t.Fatal("no SigBlk in /proc/thread-self/status")
	return ""
}
