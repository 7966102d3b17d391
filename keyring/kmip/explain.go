package kmip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ovh/kmip-go"

	"sealbay/keyring"
)

// Error is a failed errand to the key server: a sentence for the operator that
// says what is wrong and how to mend it, and the state that it means.
type Error struct {
	State error  // one of the sentinels of package keyring
	Text  string // the sentence
	Cause error  // may be nil
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Text }

// Unwrap returns State and Cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.State}
	}
	return []error{e.State, e.Cause}
}

// target is what an errand was about, for the sentences.
type target struct {
	addr   string
	keyID  string    // empty where no key is concerned
	worked time.Time // when the key worked last; zero if never
	client *x509.Certificate
}

func (t *target) fail(state, cause error, format string, a ...any) error {
	return &Error{state, "KMS " + t.addr + ": " + fmt.Sprintf(format, a...), cause}
}

// explain makes an Error of what went wrong on the way or was refused.
func (t *target) explain(err error) error {
	var known *Error
	var refused *resultError
	var cert *tls.CertificateVerificationError
	var remote *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.As(err, &refused):
		return t.explainRefusal(refused)
	case errors.As(err, &cert):
		return t.explainServerCert(cert)
	case errors.As(err, &remote) && remote.Op == "remote error":
		return t.explainAlert(remote)
	}
	return t.explainNetwork(err)
}

func (t *target) explainRefusal(r *resultError) error {
	switch r.reason {
	case kmip.ResultReasonItemNotFound:
		return t.notFound(r)
	case kmip.ResultReasonPermissionDenied:
		return t.fail(keyring.ErrAuth, r, "access to key %q is denied (%s): let the identity of the client %s use it, or configure a key of its own",
			t.keyID, r.text, subject(t.client))
	case kmip.ResultReasonAuthenticationNotSuccessful:
		hint := "check that the KMS knows this identity"
		if !hasClientAuth(t.client) {
			hint = "the certificate lacks the extended key usage clientAuth: issue it anew with it"
		} else if s := validity(t.client); s != "" {
			hint = "it " + s
		}
		return t.fail(keyring.ErrAuth, r, "the client %s was not accepted (%s): %s", subject(t.client), r.text, hint)
	case kmip.ResultReasonSensitive, kmip.ResultReasonNotExtractable:
		return t.fail(keyring.ErrAuth, r, "key %q must not leave the KMS (%s): make it extractable, or configure another key", t.keyID, r.text)
	case kmip.ResultReasonObjectarchived:
		return t.fail(keyring.ErrKeyInactive, r, "key %q is archived: recover it on the KMS", t.keyID)
	}
	return t.fail(keyring.ErrUnreachable, r, "the request was refused (%v): see the log of the KMS", r)
}

func (t *target) notFound(cause error) error {
	if !t.worked.IsZero() {
		return t.fail(keyring.ErrKeyNotFound, cause,
			"key %q was destroyed or removed since %s: restore it on the KMS, or rotate to another key while this node still runs",
			t.keyID, t.worked.UTC().Format(time.RFC3339))
	}
	return t.fail(keyring.ErrKeyNotFound, cause, "there is no key %q: check the key ID (it may differ from the key's name)", t.keyID)
}

func (t *target) explainServerCert(e *tls.CertificateVerificationError) error {
	leaf := e.UnverifiedCertificates[0]
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(e, &name) && len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		return t.fail(keyring.ErrAuth, e, "the server's %s names no host (no subjectAltName): issue it anew with one for %q", subject(leaf), name.Host)
	case errors.As(e, &name):
		return t.fail(keyring.ErrAuth, e, "the server's %s is for %s, not for %q: configure one of these names, or issue it anew",
			subject(leaf), strings.Join(names(leaf), ", "), name.Host)
	case errors.As(e, &invalid) && invalid.Reason == x509.Expired:
		which := "server's"
		if !invalid.Cert.Equal(leaf) {
			which = "CA's"
		}
		return t.fail(keyring.ErrAuth, e, "the %s %s %s: renew it (this node's clock says %s)", which, subject(invalid.Cert),
			validity(invalid.Cert), time.Now().UTC().Format(time.DateOnly))
	case errors.As(e, &unknown):
		return t.fail(keyring.ErrAuth, e, "the server's %s, valid until %s, was issued by %s, which is not in server_ca_cert: give that CA's certificate",
			subject(leaf), date(leaf.NotAfter), leaf.Issuer)
	}
	return t.fail(keyring.ErrAuth, e, "the server's %s, valid until %s, cannot be verified: %v", subject(leaf), date(leaf.NotAfter), e.Err)
}

func names(c *x509.Certificate) []string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// explainAlert: the server ended the handshake. Of the alerts (RFC 8446 6.2)
// those about certificates mean ours.
func (t *target) explainAlert(e *net.OpError) error {
	text := strings.TrimPrefix(e.Err.Error(), "tls: ")
	if strings.Contains(text, "protocol version") || strings.Contains(text, "handshake failure") {
		if s := validity(t.client); s != "" {
			return t.fail(keyring.ErrAuth, e, "the client %s %s (the server said: %s): renew it with kms_replace_certs", subject(t.client), s, text)
		}
		return t.fail(keyring.ErrAuth, e, "no TLS connection (the server said: %s): it must speak TLS 1.2 or 1.3 with a common cipher suite and accept the client %s, valid until %s",
			text, subject(t.client), date(t.client.NotAfter))
	}
	hint := fmt.Sprintf("it is valid until %s; check that the KMS trusts its issuer %s", date(t.client.NotAfter), t.client.Issuer)
	if s := validity(t.client); s != "" {
		hint = "it " + s + "; renew it with kms_replace_certs"
	}
	return t.fail(keyring.ErrAuth, e, "the client %s was not accepted (the server said: %s): %s", subject(t.client), text, hint)
}

func (t *target) explainNetwork(err error) error {
	var dns *net.DNSError
	var op *net.OpError
	what := ""
	switch {
	case errors.As(err, &dns) && !dns.IsTimeout:
		what = "the host name cannot be resolved: check it and the DNS servers"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		what = "no answer in time: check that the KMS is not stopped and that no firewall drops its packets"
	case errors.Is(err, context.Canceled):
		what = "the request was cancelled"
	case errors.Is(err, syscall.ECONNREFUSED):
		what = "connection refused: check that the KMIP service runs and the port is right"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		what = "no route to the host: check the network"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		what = "the connection was dropped: check the log of the KMS, and that the port is its KMIP port"
	case errors.Is(err, errNotKMIP), errors.Is(err, errMalformed), isTLSGarbage(err):
		what = fmt.Sprintf("what answers is not a KMIP server (%v): check host name and port", err)
	case errors.As(err, &op): // without its ephemeral port, so that a state that lasts has one text
		what = fmt.Sprintf("%s: %v: check host name, port and network", op.Op, op.Err)
	default:
		what = fmt.Sprintf("%v: check host name, port and network", err)
	}
	return t.fail(keyring.ErrUnreachable, err, "%s", what)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func isTLSGarbage(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record)
}

// validity says if a certificate is out of its time, or is empty.
func validity(c *x509.Certificate) string {
	switch now := time.Now(); {
	case now.After(c.NotAfter):
		return "expired on " + date(c.NotAfter)
	case now.Before(c.NotBefore):
		return "is not valid before " + date(c.NotBefore)
	}
	return ""
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func hasClientAuth(c *x509.Certificate) bool {
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}
