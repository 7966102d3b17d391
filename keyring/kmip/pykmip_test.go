package kmip_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	kmipgo "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/payloads"

	"sealbay/keyring"
	"sealbay/keyring/keyringtest"
	"sealbay/keyring/kmip"
)

var serverCert = keyringtest.Cert{Server: true}

func TestPyKMIPSuite(t *testing.T) {
	t.Parallel()
	p := keyringtest.StartPyKMIP(t, serverCert)
	me := keyringtest.Cert{Name: "node"}
	made := 0
	next := func(t *testing.T) string {
		made++
		id, err := kmip.CreateKey(t.Context(), p.Config(t, "", me), fmt.Sprintf("key %d", made))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	keyringtest.Suite(t, func(t *testing.T) keyringtest.Subject {
		cfg := p.Config(t, next(t), me)
		return keyringtest.Subject{
			Store:  open(t, cfg),
			Next:   func(t *testing.T) keyring.NewKey { return keyring.NewKey{KeyID: next(t)} },
			Reopen: func(t *testing.T) keyring.Store { return open(t, cfg) },
		}
	})
}

// The rows of the failure table that a key's administrator can bring about.
func TestPyKMIPKeys(t *testing.T) {
	t.Parallel()
	p := keyringtest.StartPyKMIP(t, serverCert)
	node, stranger := keyringtest.Cert{Name: "node"}, keyringtest.Cert{Name: "stranger"}
	admin := p.Admin(t, node)
	create := func(bits int, activate bool) string {
		t.Helper()
		r, err := admin.Create().AES(bits, kmipgo.CryptographicUsageEncrypt|kmipgo.CryptographicUsageDecrypt).ExecContext(t.Context())
		if err == nil && activate {
			_, err = admin.Activate(r.UniqueIdentifier).ExecContext(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return r.UniqueIdentifier
	}
	revoke := func(id string, why kmipgo.RevocationReasonCode) {
		t.Helper()
		at := time.Now() // PyKMIP wants it of a compromised key
		_, err := admin.Request(t.Context(), &payloads.RevokeRequestPayload{
			UniqueIdentifier: id, RevocationReason: kmipgo.RevocationReason{RevocationReasonCode: why}, CompromiseOccurrenceDate: &at})
		if err != nil {
			t.Fatal(err)
		}
	}
	destroy := func(id string) {
		t.Helper()
		if _, err := admin.Destroy(id).ExecContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	active, lost := create(256, true), create(256, false)
	deactivated, compromised, destroyed := create(256, true), create(256, true), create(256, true)
	revoke(deactivated, kmipgo.RevocationReasonCodeCessationOfOperation)
	revoke(compromised, kmipgo.RevocationReasonCodeKeyCompromise)
	if _, err := admin.Activate(lost).ExecContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	worked := open(t, p.Config(t, lost, node))
	expect(t, worked, keyring.Available)
	for _, id := range []string{lost, destroyed} {
		revoke(id, kmipgo.RevocationReasonCodeCessationOfOperation)
		destroy(id)
	}
	for _, c := range []struct {
		name  string
		id    string
		who   keyringtest.Cert
		want  keyring.Status
		parts []string
	}{
		{"active", active, node, keyring.Available, nil},
		{"pre-active", create(256, false), node, keyring.KeyInactive, []string{"state PreActive", "activate it on the KMS"}},
		{"deactivated", deactivated, node, keyring.KeyInactive, []string{"state Deactivated"}},
		{"compromised", compromised, node, keyring.KeyInactive, []string{"state Compromised"}},
		{"destroyed", destroyed, node, keyring.KeyNotFound, []string{"there is no key"}},
		{"never there", "no-such-key", node, keyring.KeyNotFound, []string{`there is no key "no-such-key"`}},
		{"of another identity", active, stranger, keyring.AuthError, []string{"is denied", "CN=stranger"}},
		{"of 128 bits", create(128, true), node, keyring.Corrupted, []string{"is 128 bits, need 256"}},
		{"client certificate without clientAuth", active, keyringtest.Cert{Name: "node", NoUsage: true}, keyring.AuthError, []string{"lacks the extended key usage clientAuth"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, p.Config(t, c.id, c.who))
			expect(t, s, c.want, c.parts...)
			expectPoll(t, s, c.want, c.parts...)
		})
	}
	t.Run("destroyed after it worked", func(t *testing.T) {
		expect(t, worked, keyring.KeyNotFound, "was destroyed or removed since "+time.Now().UTC().Format("2006-01-02"))
		expectPoll(t, worked, keyring.KeyNotFound, "was destroyed or removed since ")
	})
	t.Run("not a symmetric key", func(t *testing.T) {
		r, err := admin.CreateKeyPair().RSA(2048, kmipgo.CryptographicUsageSign, kmipgo.CryptographicUsageVerify).ExecContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, p.Config(t, r.PublicKeyUniqueIdentifier, node))
		expect(t, s, keyring.Corrupted, "need a symmetric key of 256 bits")
		expectPoll(t, s, keyring.Corrupted, "need a symmetric key of 256 bits")
	})
}

// The rows about certificates.
func TestPyKMIPCertificates(t *testing.T) {
	t.Parallel()
	p := keyringtest.StartPyKMIP(t, serverCert)
	node := keyringtest.Cert{Name: "node"}
	id, err := kmip.CreateKey(t.Context(), p.Config(t, "", node), "master")
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-48 * time.Hour)
	expired := p.Config(t, id, keyringtest.Cert{Name: "node", NotAfter: past})
	expect(t, open(t, expired), keyring.AuthError, "the client certificate CN=node was not accepted", "it expired on "+past.UTC().Format("2006-01-02"))
	foreign := p.Config(t, id, node)
	ca := foreign.Certs.ServerCA
	foreign.Certs = keyringtest.NewCA(t, "foreign CA").Certs(t, node)
	foreign.Certs.ServerCA = ca
	expect(t, open(t, foreign), keyring.AuthError, "the client certificate CN=node was not accepted", "CN=foreign CA")

	running := open(t, p.Config(t, id, node))
	expect(t, running, keyring.Available)
	for _, c := range []struct {
		cert keyringtest.Cert
		say  string
	}{
		{keyringtest.Cert{NotAfter: past}, "the server's certificate CN=kms expired on " + past.UTC().Format("2006-01-02")},
		{keyringtest.Cert{Names: []string{"kms.example.com"}}, "is for kms.example.com"},
		{keyringtest.Cert{NoNames: true}, "no subjectAltName"},
	} {
		p.Stop()
		p.Present(t, c.cert)
		p.Start(t)
		expect(t, running, keyring.AuthError, c.say)
	}
	p.Stop()
	p.Present(t, keyringtest.Cert{RSA: true})
	p.Start(t)
	expect(t, running, keyring.Available) // and with an RSA certificate
	if h := running.Health(); h.ServerCertExpiry.IsZero() || h.CACertExpiry.IsZero() || h.ClientCertExpiry.IsZero() {
		t.Errorf("%+v", h)
	}
}

// The rows about connections, of a running node.
func TestPyKMIPConnections(t *testing.T) {
	t.Parallel()
	p := keyringtest.StartPyKMIP(t, serverCert)
	node := keyringtest.Cert{Name: "node"}
	id, err := kmip.CreateKey(t.Context(), p.Config(t, "", node), "master")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, p.Config(t, id, node))
	expect(t, s, keyring.Available)

	p.Pause()
	expect(t, s, keyring.Unreachable, "no answer in time")
	p.Resume()
	expectPoll(t, s, keyring.Available)

	p.Stop()
	expect(t, s, keyring.Unreachable, "connection refused")
	expectPoll(t, s, keyring.Unreachable, "connection refused")
	p.Start(t)
	expectPoll(t, s, keyring.Available)
	expect(t, s, keyring.Available)
}

func TestPyKMIPFetchTime(t *testing.T) {
	p := keyringtest.StartPyKMIP(t, serverCert)
	node := keyringtest.Cert{Name: "node"}
	id, err := kmip.CreateKey(t.Context(), p.Config(t, "", node), "master")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, p.Config(t, id, node))
	var best time.Duration
	for range 10 {
		start := time.Now()
		expect(t, s, keyring.Available)
		if took := time.Since(start); best == 0 || took < best {
			best = took
		}
	}
	t.Logf("dial, handshake, version, get and attributes: %v", best)
	if best > time.Second {
		t.Errorf("a fetch takes %v", best)
	}
}

func TestPyKMIPCreateErrors(t *testing.T) {
	t.Parallel()
	p := keyringtest.StartPyKMIP(t, serverCert)
	cfg := p.Config(t, "", keyringtest.Cert{Name: "node", NoUsage: true})
	if _, err := kmip.CreateKey(t.Context(), cfg, "master"); !errors.Is(err, keyring.ErrAuth) || !strings.Contains(err.Error(), "clientAuth") {
		t.Errorf("%v", err)
	}
}
