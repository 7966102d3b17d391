package appliance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kmipgo "github.com/ovh/kmip-go"
	"golang.org/x/sys/unix"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
	"sealbay/keyring"
	"sealbay/keyring/keyringtest"
)

// TestEightStatuses brings a node into each of them.
func TestEightStatuses(t *testing.T) {
	t.Parallel()
	server := keyringtest.NewServer(t)
	r := newRig(t, 1, 20)
	stranger := newRig(t, 1, 20)
	if err := stranger.node(t, true).Close(); err != nil {
		t.Fatal(err)
	}
	says := func(n *Node, want string) {
		t.Helper()
		if _, err := n.Rehearse(t.Context()); err != nil {
			t.Error(err)
		}
		if got := n.Status().Status; got != want {
			t.Errorf("status %q, want %q", got, want)
		}
	}

	// Drives of another node, and no key of our own.
	stranger.state = filepath.Join(filepath.Dir(stranger.state), "other")
	if err := os.Mkdir(stranger.state, 0o700); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, stranger)
	if err := n.bringUp(t.Context(), true); !errors.Is(err, errNoStore) {
		t.Errorf("bringing up: %v", err)
	}
	says(n, rest.NotEncrypted)

	n = newNode(t, r)
	if err := n.bringUp(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	says(n, rest.Encrypted)
	if err := n.SetKeyStore(t.Context(), kmsRequest(t, server, "key-1")); err != nil {
		t.Fatal(err)
	}
	says(n, rest.KMSAvailable)
	server.SetState("key-1", kmipgo.StateDeactivated)
	says(n, rest.KMSInactive)
	server.SetState("key-1", kmipgo.StateActive)
	says(n, rest.KMSAvailable)
	server.Present(t, keyringtest.Cert{Name: "kms", Server: true, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	says(n, rest.KMSAuthError)
	if s := n.State(); !strings.Contains(strings.Join(s.Alerts, "\n"), "KMS server's certificate expired on ") {
		t.Errorf("alerts %q", s.Alerts)
	}
	server.Present(t, keyringtest.Cert{Name: "kms", Server: true})
	says(n, rest.KMSAvailable)
	server.Stop()
	says(n, rest.KMSNoConnect)
	server.Start(t)
	server.SetKey("key-1", nil)
	says(n, rest.KMSNoKey)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.Truncate(filepath.Join(r.state, storeFile), 20); err != nil {
		t.Fatal(err)
	}
	n = newNode(t, r)
	says(n, rest.Corrupted)
	if s := n.State(); !strings.Contains(strings.Join(s.Alerts, "\n"), "keystore.json: the file ends in the middle") || s.State != rest.StateSealed {
		t.Errorf("state %+v", s)
	}
}

// newNode opens a rig's node without bringing it up; the test's end closes it.
func newNode(t *testing.T, r *rig) *Node {
	t.Helper()
	cfg, _, err := ParseFlags(r.args(), testWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() }) // closed twice where the test closes it
	return n
}

func TestExpiryAlert(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, c := range []struct {
		in   time.Duration
		want string
	}{
		{31 * day, ""},
		{29 * day, "the client certificate expires in less than 30 days, on 2027-01-30T00:00:00Z; replace it with kms_replace_certs"},
		{6 * day, "the client certificate expires in less than 7 days, on 2027-01-07T00:00:00Z; replace it with kms_replace_certs"},
		{time.Hour, "the client certificate expires in less than 1 days, on 2027-01-01T01:00:00Z; replace it with kms_replace_certs"},
		{0, "the client certificate expired on 2027-01-01T00:00:00Z; replace it with kms_replace_certs"},
		{-day, "the client certificate expired on 2026-12-31T00:00:00Z; replace it with kms_replace_certs"},
	} {
		if got := expiryAlert("client certificate", now.Add(c.in), now); got != c.want {
			t.Errorf("%v: %q, want %q", c.in, got, c.want)
		}
	}
	if got := expiryAlert("x", time.Time{}, now); got != "" {
		t.Errorf("no certificate: %q", got)
	}
}

// TestFailingDriveRollsBack: whatever write a drive fails, the rotation is
// rolled back or finished, and every drive opens, the failing one, too, once it
// is well.
func TestFailingDriveRollsBack(t *testing.T) {
	t.Parallel()
	for fail := range 12 {
		w := newWorld(t)
		n := w.node(t)
		if err := w.bringUp(t, n); err != nil {
			t.Fatal(err)
		}
		writes := 0
		w.drives[1].Fail(func(_ int, r *blockdev.Request) blocktest.Fault {
			if r.Op == blockdev.Read {
				return blocktest.Fault{}
			}
			if writes++; writes > fail {
				return blocktest.Fault{Err: unix.EIO}
			}
			return blocktest.Fault{}
		})
		err := n.RotateKeys(t.Context(), rest.RotateKeys{})
		if writes > fail && err == nil {
			t.Errorf("write %d failed, and the rotation says it is complete", fail)
		}
		if fail == 0 && !errors.Is(err, keyring.ErrRolledBack) {
			t.Errorf("the first write failed: %v, want ErrRolledBack", err)
		}
		for _, d := range []int{0, 2} {
			if n.drives.drives[d].vol == nil {
				t.Errorf("drive %d suffers from drive 1", d)
			}
		}
		w.drives[1].Fail(nil)
		again := w.node(t)
		if err := w.bringUp(t, again); err != nil {
			t.Fatal(err)
		}
		w.check(t, again)
		if t.Failed() {
			t.Fatalf("drive 1 failed write %d; the rotation said: %v", fail, err)
		}
	}
}
