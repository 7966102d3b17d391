package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sealbay/appliance/rest"
)

func TestRecordAndLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 5
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := l.Record(rest.AuditEntry{Time: time.Now().UTC(), Action: "a", User: fmt.Sprint(w), What: fmt.Sprint(i), Outcome: "done"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all, err := l.Last(0)
	if err != nil || len(all) != writers*each {
		t.Fatalf("%d entries, %v; want %d", len(all), err, writers*each)
	}
	some, err := l.Last(3)
	if err != nil || len(some) != 3 || some[2] != all[len(all)-1] || some[0] != all[len(all)-3] {
		t.Errorf("Last(3) = %v, %v", some, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestTornLineIsPassedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"time":"2026-01-02T03:04:05Z","action":"first","user":"root","outcome":"done"}`+"\n"+`{"time":"2026-01-0`), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Record(rest.AuditEntry{Action: "second"}); err != nil {
		t.Fatal(err)
	}
	got, err := l.Last(0)
	if err != nil || len(got) != 2 || got[0].Action != "first" || got[1].Action != "second" {
		t.Errorf("got %v, %v", got, err)
	}
}
