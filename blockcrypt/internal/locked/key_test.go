package locked

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// proc_pid_smaps(5): lo locked, dd left out of core files, dc not copied on fork.
func TestPagesAreLocked(t *testing.T) {
	b, err := New(64)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	flags := vmFlags(t, uintptr(unsafe.Pointer(unsafe.SliceData(b.Bytes()))))
	for flag, want := range map[string]bool{"lo": b.Locked(), "dd": true, "dc": true} {
		if slices.Contains(flags, flag) != want {
			t.Errorf("VmFlags %v: %s should be %v", flags, flag, want)
		}
	}
	if !b.Locked() {
		t.Error("64 bytes could not be locked: raise ulimit -l")
	}
}

func vmFlags(t *testing.T, addr uintptr) []string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(smaps)) {
		var lo, hi uintptr
		if n, err := fmt.Sscanf(line, "%x-%x ", &lo, &hi); err == nil && n == 2 {
			inside = lo <= addr && addr < hi
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return strings.Fields(flags)
		}
	}
	t.Fatalf("no mapping at %#x", addr)
	return nil
}

func TestSaysNothing(t *testing.T) {
	b, err := New(8)
	if err != nil {
		t.Fatal(err)
	}
	copy(b.Bytes(), "topsecret")
	for _, text := range []string{fmt.Sprint(b), fmt.Sprintf("%+v %#v %s %q", b, b, b, b), fmt.Sprintf("%x", b)} {
		if strings.Contains(text, "topse") || strings.Contains(text, fmt.Sprintf("%x", "topse")) {
			t.Errorf("prints %q", text)
		}
	}
	b.Close()
	b.Close()
	if len(b.Bytes()) != 0 {
		t.Error("bytes are left after Close")
	}
}
