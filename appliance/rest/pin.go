package rest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
)

// ErrFingerprint: the node showed another certificate than the one it is known
// by: another machine answers, or the node made a new one.
var ErrFingerprint = errors.New("the node's certificate is not the one that is known")

// Fingerprint returns the SHA-256 of a certificate in hexadecimal.
func Fingerprint(certDER []byte) string {
	sum := sha256.Sum256(certDER)
	return hex.EncodeToString(sum[:])
}

// pinned accepts exactly one certificate, whoever signed it and whatever name
// it holds: nodes sign their own.
func pinned(fingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // the fingerprint is what is verified
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || Fingerprint(raw[0]) != fingerprint {
				return ErrFingerprint
			}
			return nil
		},
	}
}

// FingerprintOf connects to addr and returns the fingerprint that it shows.
func FingerprintOf(ctx context.Context, addr string) (string, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrConnect, addr, cause(err))
	}
	defer c.Close()
	return Fingerprint(c.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw), nil
}
