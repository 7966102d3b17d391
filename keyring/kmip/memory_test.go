package kmip_test

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"sealbay/keyring/keyringtest"
	"sealbay/keyring/kmip"
)

// After a fetch the process holds the key once, in its locked buffer: the
// decoder's copy is wiped, the TLS record buffer and the vector registers are
// overwritten. The server is another process, so that none of this is its
// copy. The collector runs all the while: it sends signals, for which the
// kernel writes registers to memory, and it moves stacks.
func TestOneCopyInMemory(t *testing.T) {
	p := keyringtest.StartPyKMIP(t, serverCert)
	defer busyCollector()()
	for range 8 {
		held, left := copiesOfNewKey(t, p)
		if len(held) != 1 {
			t.Errorf("%d copies of the key in memory, want 1:\n%s", len(held), strings.Join(held, "\n"))
		}
		if len(left) != 0 {
			t.Errorf("%d copies of the key in memory after Close, want none:\n%s", len(left), strings.Join(left, "\n"))
		}
	}
}

// busyCollector makes garbage until the function that it returns is called.
func busyCollector() (stop func()) {
	stopped := make(chan struct{})
	go func() {
		var keep [100][]byte
		for i := 0; ; i++ {
			select {
			case <-stopped:
				return
			default:
				keep[i%len(keep)] = make([]byte, 4096)
			}
		}
	}()
	return func() { close(stopped) }
}

// copiesOfNewKey fetches a key that was never fetched before and looks for it
// in memory, while it is open and after Close.
func copiesOfNewKey(t *testing.T, p *keyringtest.PyKMIP) (held, left []string) {
	t.Helper()
	node := keyringtest.Cert{Name: "node"}
	id, err := kmip.CreateKey(t.Context(), p.Config(t, "", node), "master")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, p.Config(t, id, node))
	runtime.LockOSThread() // what the fetch left in registers is what the signal finds
	defer runtime.UnlockOSThread()
	key, _, err := s.Fetch(t.Context())
	killed := syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGURG) // as the collector does
	if err != nil || killed != nil {
		t.Fatal(err, killed)
	}
	n := keyringtest.NeedleOf(t, key)
	held = n.Find(t)
	if err := key.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	return held, n.Find(t)
}
