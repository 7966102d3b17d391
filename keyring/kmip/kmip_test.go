package kmip_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	kmipgo "github.com/ovh/kmip-go"

	"sealbay/keyring"
	"sealbay/keyring/keyringtest"
	"sealbay/keyring/kmip"
)

func open(t *testing.T, cfg kmip.Config) *kmip.Store {
	t.Helper()
	s, err := kmip.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSuite(t *testing.T) {
	keyringtest.Suite(t, func(t *testing.T) keyringtest.Subject {
		srv := keyringtest.NewServer(t)
		cfg, n := srv.Config(t, "key-1"), 1
		return keyringtest.Subject{
			Store: open(t, cfg),
			Next: func(*testing.T) keyring.NewKey {
				n++
				id := fmt.Sprintf("key-%d", n)
				srv.AddKey(id, nil, kmipgo.StateActive)
				return keyring.NewKey{KeyID: id}
			},
			Reopen: func(t *testing.T) keyring.Store { return open(t, cfg) },
		}
	})
}

// expect fetches and polls, and wants of both the status, and of the error the
// parts of the sentence.
func expect(t *testing.T, s *kmip.Store, want keyring.Status, parts ...string) {
	t.Helper()
	start := time.Now()
	key, _, err := s.Fetch(t.Context())
	if key != nil {
		key.Close()
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Fetch took %v, want under 5 s", took)
	}
	if got := keyring.StatusOf(keyring.KMS, err); got != want {
		t.Fatalf("Fetch: status %q, want %q (%v)", got, want, err)
	}
	sentence(t, err, parts)
	if h := s.Health(); h.Status != want || (err != nil && h.Detail != err.Error()) {
		t.Errorf("health after Fetch %+v, want status %q", h, want)
	}
}

func sentence(t *testing.T, err error, parts []string) {
	t.Helper()
	if err == nil {
		return
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is not one line", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func expectPoll(t *testing.T, s *kmip.Store, want keyring.Status, parts ...string) {
	t.Helper()
	h := s.Check(t.Context())
	if h.Status != want {
		t.Fatalf("poll: status %q, want %q (%s)", h.Status, want, h.Detail)
	}
	for _, p := range parts {
		if !strings.Contains(h.Detail, p) {
			t.Errorf("poll: %q does not say %q", h.Detail, p)
		}
	}
}

func TestKeyStates(t *testing.T) {
	srv := keyringtest.NewServer(t)
	for id, c := range map[string]struct {
		key   *keyringtest.Key
		want  keyring.Status
		parts []string
	}{
		"active":      {&keyringtest.Key{Bytes: make([]byte, 32), State: kmipgo.StateActive}, keyring.Available, nil},
		"preactive":   {&keyringtest.Key{Bytes: make([]byte, 32), State: kmipgo.StatePreActive}, keyring.KeyInactive, []string{`key "preactive" is not active yet (state PreActive)`, "activate it"}},
		"deactivated": {&keyringtest.Key{Bytes: make([]byte, 32), State: kmipgo.StateDeactivated}, keyring.KeyInactive, []string{"state Deactivated", "rotate to an active key"}},
		"compromised": {&keyringtest.Key{Bytes: make([]byte, 32), State: kmipgo.StateCompromised}, keyring.KeyInactive, []string{"state Compromised"}},
		"destroyed":   {&keyringtest.Key{Bytes: make([]byte, 32), State: kmipgo.StateDestroyed}, keyring.KeyNotFound, []string{`no key "destroyed"`}},
		"never":       {nil, keyring.KeyNotFound, []string{`there is no key "never"`, "may differ from the key's name"}},
		"others":      {&keyringtest.Key{Reason: kmipgo.ResultReasonPermissionDenied}, keyring.AuthError, []string{`access to key "others" is denied`, "CN=node", "let the identity"}},
		"archived":    {&keyringtest.Key{Reason: kmipgo.ResultReasonObjectarchived}, keyring.KeyInactive, []string{"recover it"}},
		"sealed":      {&keyringtest.Key{Reason: kmipgo.ResultReasonNotExtractable}, keyring.AuthError, []string{"must not leave the KMS"}},
		"broken":      {&keyringtest.Key{Reason: kmipgo.ResultReasonGeneralFailure}, keyring.Unreachable, []string{"GeneralFailure", "see the log of the KMS"}},
		"short":       {&keyringtest.Key{Bytes: make([]byte, 16), State: kmipgo.StateActive}, keyring.Corrupted, []string{`key "short" is 128 bits, need 256`}},
		"long":        {&keyringtest.Key{Bytes: make([]byte, 64), State: kmipgo.StateActive}, keyring.Corrupted, []string{`key "long" is 512 bits, need 256`}},
		"cert":        {&keyringtest.Key{Object: &kmipgo.Certificate{CertificateType: kmipgo.CertificateTypeX_509}, State: kmipgo.StateActive}, keyring.Corrupted, []string{"is a Certificate, need a symmetric key"}},
	} {
		t.Run(id, func(t *testing.T) {
			srv.SetKey(id, c.key)
			s := open(t, srv.Config(t, id))
			expect(t, s, c.want, c.parts...)
			expectPoll(t, s, c.want, c.parts...)
			_, _, err := open(t, srv.Config(t, "key-1")).Prepare(t.Context(), keyring.NewKey{KeyID: id})
			if got := keyring.StatusOf(keyring.KMS, err); got != c.want {
				t.Errorf("Prepare: %q (%v)", got, err)
			}
		})
	}
}

func TestKeyLostAfterItWorked(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	expect(t, s, keyring.Available)
	srv.SetKey("key-1", nil)
	expect(t, s, keyring.KeyNotFound, `key "key-1" was destroyed or removed since `+time.Now().UTC().Format("2006-01-02T15"), "while this node still runs")

	cfg := srv.Config(t, "key-1") // a restarted node knows it from its configuration
	cfg.Created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	expect(t, open(t, cfg), keyring.KeyNotFound, "since 2026-03-01T12:00:00Z")
}

func TestStateNotTold(t *testing.T) {
	srv := keyringtest.NewServer(t)
	srv.Fail(kmipgo.OperationGetAttributes, keyringtest.NoState)
	expect(t, open(t, srv.Config(t, "key-1")), keyring.KeyInactive, "does not tell the state")
}

func TestBrokenServers(t *testing.T) {
	get, connect := kmipgo.OperationGet, kmipgo.Operation(0)
	for name, c := range map[string]struct {
		op    kmipgo.Operation
		fault keyringtest.Fault
		say   string
	}{
		"silent":               {connect, keyringtest.Silent, "no answer in time"},
		"drops connections":    {connect, keyringtest.DropAtAccept, "the connection was dropped"},
		"not TLS":              {connect, keyringtest.PlainText, "is not a KMIP server"},
		"drops at version":     {kmipgo.OperationDiscoverVersions, keyringtest.DropAtRequest, "the connection was dropped"},
		"drops at get":         {get, keyringtest.DropAtRequest, "the connection was dropped"},
		"hangs mid-answer":     {get, keyringtest.HangMidAnswer, "no answer in time"},
		"hangs mid-attributes": {kmipgo.OperationGetAttributes, keyringtest.HangMidAnswer, "no answer in time"},
		"garbage":              {get, keyringtest.Garbage, "is not a KMIP server"},
		"malformed":            {get, keyringtest.Malformed, "is not a KMIP server"},
		"huge":                 {get, keyringtest.Huge, "said to have"},
		"other key":            {get, keyringtest.OtherKeyID, "key-1-other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := keyringtest.NewServer(t)
			s := open(t, srv.Config(t, "key-1"))
			srv.Fail(c.op, c.fault)
			expect(t, s, keyring.Unreachable, c.say, srv.Addr)
			srv.Fail(c.op, keyringtest.None)
			expectPoll(t, s, keyring.Available)
			expect(t, s, keyring.Available)
		})
	}
}

func TestServerDownAndUp(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	srv.Stop()
	expect(t, s, keyring.Unreachable, "connection refused", "check that the KMIP service runs")
	srv.Start(t)
	expectPoll(t, s, keyring.Available)
}

func TestNoSuchHost(t *testing.T) {
	srv := keyringtest.NewServer(t)
	cfg := srv.Config(t, "key-1")
	cfg.Hostname = "kms.invalid" // RFC 6761 6.4: never resolves
	expect(t, open(t, cfg), keyring.Unreachable, "kms.invalid")
}

func TestCancelled(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	srv.Fail(0, keyringtest.Silent)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	if _, _, err := s.Fetch(ctx); err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// Status must answer while the server hangs.
func TestHealthDoesNotWait(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	expect(t, s, keyring.Available)
	srv.Fail(0, keyringtest.Silent)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Check(ctx); close(done) }()
	for range 50 {
		start := time.Now()
		s.Health()
		if took := time.Since(start); took > 5*time.Millisecond {
			t.Errorf("Health took %v", took)
		}
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	<-done
	if h := s.Health(); h.Status != keyring.Available {
		t.Errorf("a poll that was cancelled left %+v", h)
	}
}

func TestCertificates(t *testing.T) {
	past, year := time.Now().Add(-24*time.Hour), time.Now().Add(-24*time.Hour).UTC().Format("2006-01-02")
	other := keyringtest.NewCA(t, "other CA")
	for _, c := range []struct {
		name   string
		server keyringtest.Cert
		client func(*keyringtest.Server) kmip.Certs
		parts  []string
	}{
		{"server expired", keyringtest.Cert{Name: "kms", Server: true, NotAfter: past}, nil, []string{"the server's certificate CN=kms expired on " + year, "renew it"}},
		{"server not yet valid", keyringtest.Cert{Name: "kms", Server: true, NotBefore: time.Now().Add(time.Hour)}, nil, []string{"CN=kms is not valid before "}},
		{"server's name wrong", keyringtest.Cert{Name: "kms", Server: true, Names: []string{"kms.example.com"}}, nil, []string{"is for kms.example.com, not for \"127.0.0.1\""}},
		{"server without names", keyringtest.Cert{Name: "kms", Server: true, NoNames: true}, nil, []string{"names no host (no subjectAltName)", "127.0.0.1"}},
		{"server of another CA", keyringtest.Cert{Name: "kms", Server: true}, func(s *keyringtest.Server) kmip.Certs {
			c := s.CA.Certs(t, keyringtest.Cert{})
			c.ServerCA.Data = other.PEM
			return c
		}, []string{"CN=kms, valid until ", "was issued by CN=test CA, which is not in server_ca_cert"}},
		{"client expired", keyringtest.Cert{Name: "kms", Server: true}, func(s *keyringtest.Server) kmip.Certs {
			return s.CA.Certs(t, keyringtest.Cert{Name: "old node", NotAfter: past})
		}, []string{"the client certificate CN=old node was not accepted", "it expired on " + year, "kms_replace_certs"}},
		{"client of another CA", keyringtest.Cert{Name: "kms", Server: true}, func(s *keyringtest.Server) kmip.Certs {
			c := other.Certs(t, keyringtest.Cert{Name: "stranger"})
			c.ServerCA.Data = s.CA.PEM
			return c
		}, []string{"the client certificate CN=stranger was not accepted", "valid until ", "trusts its issuer CN=other CA"}},
	} {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/TLS 1.2 %v", c.name, old), func(t *testing.T) {
				srv := keyringtest.NewServer(t)
				srv.Present(t, c.server)
				if old {
					srv.MaxTLS12()
				}
				cfg := srv.Config(t, "key-1")
				if c.client != nil {
					cfg.Certs = c.client(srv)
				}
				s := open(t, cfg)
				expect(t, s, keyring.AuthError, c.parts...)
				expectPoll(t, s, keyring.AuthError, c.parts...)
			})
		}
	}
}

func TestExpiryOfThree(t *testing.T) {
	srv := keyringtest.NewServer(t)
	now := time.Now() // once: a second may end in between
	at := func(days int) time.Time { return now.AddDate(0, 0, days).Truncate(time.Second) }
	srv.Present(t, keyringtest.Cert{Name: "kms", Server: true, NotAfter: at(5)})
	cfg := srv.Config(t, "key-1")
	cfg.Certs = srv.CA.Certs(t, keyringtest.Cert{NotAfter: at(20)})
	old := keyringtest.NewCA(t, "former CA", at(-3))
	cfg.Certs.ServerCA.Data = append(append([]byte(nil), old.PEM...), srv.CA.PEM...) // a bundle
	s := open(t, cfg)
	expect(t, s, keyring.Available)
	h := s.Health()
	if !h.ServerCertExpiry.Equal(at(5)) || !h.ClientCertExpiry.Equal(at(20)) || !h.CACertExpiry.Equal(srv.CA.Cert.NotAfter) {
		t.Errorf("%+v", h)
	}
}

// Certificates that expire while the node runs: the next poll says so.
func TestExpiryWhileRunning(t *testing.T) {
	for _, whose := range []string{"client", "server"} {
		t.Run(whose, func(t *testing.T) {
			t.Parallel()
			srv := keyringtest.NewServer(t)
			cfg, soon := srv.Config(t, "key-1"), time.Now().Add(6*time.Second)
			if whose == "server" {
				srv.Present(t, keyringtest.Cert{Name: "kms", Server: true, NotAfter: soon})
			} else {
				cfg.Certs = srv.CA.Certs(t, keyringtest.Cert{NotAfter: soon})
			}
			s := open(t, cfg)
			expectPoll(t, s, keyring.Available)
			time.Sleep(time.Until(soon) + 1100*time.Millisecond) // certificates count whole seconds
			expectPoll(t, s, keyring.AuthError, "expired on "+soon.UTC().Format("2006-01-02T15:04:05Z"), "renew it")
		})
	}
}

func TestCreateKey(t *testing.T) {
	for _, oldest := range []bool{false, true} {
		srv := keyringtest.NewServer(t)
		if oldest {
			srv.OnlyKMIP10()
		}
		cfg := srv.Config(t, "")
		id, err := kmip.CreateKey(t.Context(), cfg, "node 7 master")
		if err != nil {
			t.Fatal(err)
		}
		cfg.KeyID = id
		expect(t, open(t, cfg), keyring.Available)
	}
}

func TestCreateKeyThatCannotBeActivated(t *testing.T) {
	srv := keyringtest.NewServer(t)
	srv.Fail(kmipgo.OperationActivate, keyringtest.NoState) // refuses
	_, err := kmip.CreateKey(t.Context(), srv.Config(t, ""), "x")
	if !errors.Is(err, keyring.ErrAuth) || !strings.Contains(err.Error(), `key "made-2" was created but cannot be activated`) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "two\nlines", strings.Repeat("x", 257)} {
		if _, err := kmip.CreateKey(t.Context(), srv.Config(t, ""), bad); err == nil || !strings.Contains(err.Error(), "key_name") {
			t.Errorf("name %q: %v", bad, err)
		}
	}
}

func TestPrepareWants(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	for _, want := range []keyring.NewKey{{}, {KeyID: "a b"}} {
		if _, _, err := s.Prepare(t.Context(), want); err == nil {
			t.Errorf("%+v was accepted", want)
		}
	}
}

func TestLookupTakesADeactivatedKey(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	_, info, err := s.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	srv.SetState("key-1", kmipgo.StateDeactivated)
	if _, _, err := s.Lookup(t.Context(), info.Ref); err != nil {
		t.Errorf("a drive that was away needs it: %v", err)
	}
	srv.SetState("key-1", kmipgo.StatePreActive)
	if _, _, err := s.Lookup(t.Context(), info.Ref); !errors.Is(err, keyring.ErrKeyInactive) {
		t.Errorf("%v", err)
	}
	srv.AddKey("key-1", nil, kmipgo.StateActive) // other bytes under the same ID
	if _, _, err := s.Lookup(t.Context(), info.Ref); !errors.Is(err, keyring.ErrKeyNotFound) || !strings.Contains(err.Error(), "holds other bytes than before") {
		t.Errorf("%v", err)
	}
}

func TestReplaceCerts(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	expect(t, s, keyring.Available)
	before := s.Config()
	stranger := keyringtest.NewCA(t, "x").Certs(t, keyringtest.Cert{})
	stranger.ServerCA = before.Certs.ServerCA
	kept := 0
	keep := func(kmip.Config) error { kept++; return nil }
	for name, certs := range map[string]kmip.Certs{"not accepted": stranger, "empty": {}} {
		if err := s.ReplaceCerts(t.Context(), certs, keep); err == nil || kept != 0 {
			t.Errorf("%s: %v, kept %d times", name, err, kept)
		}
	}
	fresh := srv.CA.Certs(t, keyringtest.Cert{Name: "renewed"})
	if err := s.ReplaceCerts(t.Context(), fresh, func(kmip.Config) error { return errors.New("disk full") }); err == nil {
		t.Error("a configuration that was not stored is used")
	}
	if string(s.Config().Certs.ClientCert.Data) != string(before.Certs.ClientCert.Data) {
		t.Error("the running configuration changed")
	}
	if err := s.ReplaceCerts(t.Context(), fresh, keep); err != nil || kept != 1 {
		t.Fatalf("%v, kept %d times", err, kept)
	}
	block, _ := pem.Decode(s.Config().Certs.ClientCert.Data)
	if cert, err := x509.ParseCertificate(block.Bytes); err != nil || cert.Subject.CommonName != "renewed" {
		t.Errorf("%v, %v", cert.Subject, err)
	}
	expect(t, s, keyring.Available)
}

func TestReplaceCertsLeadingToAnotherKey(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	expect(t, s, keyring.Available)
	srv.AddKey("key-1", nil, kmipgo.StateActive)
	err := s.ReplaceCerts(t.Context(), srv.CA.Certs(t, keyringtest.Cert{}), func(kmip.Config) error { t.Error("kept"); return nil })
	if err == nil || !strings.Contains(err.Error(), "lead to another key") {
		t.Errorf("%v", err)
	}
}

func TestClosed(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	s.Close()
	if _, _, err := s.Fetch(t.Context()); !errors.Is(err, keyring.ErrClosed) {
		t.Error(err)
	}
}

// A node that has just moved to a key is not told that its KMS is away because
// nobody has polled it yet.
func TestCommitKnowsTheServer(t *testing.T) {
	srv := keyringtest.NewServer(t)
	s := open(t, srv.Config(t, "key-1"))
	if h := s.Health(); h.Status != keyring.Unreachable {
		t.Fatalf("before any call: %+v", h)
	}
	key, info, err := s.Prepare(t.Context(), keyring.NewKey{KeyID: "key-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	if err := s.Commit(t.Context(), info.Ref); err != nil {
		t.Fatal(err)
	}
	if h := s.Health(); h.Status != keyring.Available || h.Detail != "" || h.ServerCertExpiry.IsZero() {
		t.Errorf("after Commit: %+v", h)
	}
}
