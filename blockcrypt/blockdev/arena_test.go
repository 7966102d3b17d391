package blockdev

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// A large arena must lie in huge pages where the kernel gives them.
func TestArenaHugePages(t *testing.T) {
	enabled, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil || strings.Contains(string(enabled), "[never]") {
		t.Skipf("this kernel gives no transparent huge pages: %s %v", enabled, err)
	}
	a, err := NewArena(5*hugePage + 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	start := uintptr(unsafe.Pointer(unsafe.SliceData(a.Bytes())))
	if len(a.Bytes()) != 5*hugePage+PageSize || start%hugePage != 0 {
		t.Errorf("%d bytes at %#x", len(a.Bytes()), start)
	}
	if kib := anonHuge(t, start); kib < 2*hugePage>>10 {
		t.Errorf("%d KiB of an arena of 10 MiB are in huge pages", kib)
	}
}

// anonHuge reads proc_pid_smaps(5) of the mapping that holds the address.
func anonHuge(t *testing.T, at uintptr) (kib int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for _, line := range strings.Split(string(smaps), "\n") {
		var lo, hi uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &lo, &hi); n == 2 {
			inside = lo <= at && at < hi
		}
		if inside && strings.HasPrefix(line, "AnonHugePages:") {
			_, _ = fmt.Sscanf(line, "AnonHugePages: %d kB", &kib)
			return kib
		}
	}
	t.Fatalf("no mapping at %#x", at)
	return 0
}
