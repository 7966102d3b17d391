package keyringtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"sealbay/keyring/kmip"
)

// CA is a certificate authority for one test.
type CA struct {
	Cert *x509.Certificate
	PEM  []byte
	key  crypto.Signer
}

// Cert shapes a certificate of a CA. The zero value is a client's that is
// valid for a year.
type Cert struct {
	Name      string    // common name; PyKMIP's identity. Default "node"
	NotBefore time.Time // default an hour ago
	NotAfter  time.Time // default in a year
	Server    bool      // for 127.0.0.1 and localhost
	Names     []string  // instead of those
	NoNames   bool      // no subjectAltName at all
	NoUsage   bool      // no extended key usage
	RSA       bool      // else ECDSA P-256
}

// NewCA makes a CA that is valid for two years, or until notAfter if given.
func NewCA(t testing.TB, name string, notAfter ...time.Time) *CA {
	t.Helper()
	key := ecKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(2, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if len(notAfter) > 0 {
		tmpl.NotBefore, tmpl.NotAfter = notAfter[0].AddDate(-1, 0, 0), notAfter[0]
	}
	cert, certPEM := sign(t, tmpl, tmpl, key.Public(), key)
	return &CA{cert, certPEM, key}
}

// Issue makes a certificate and its key, both PEM.
func (ca *CA) Issue(t testing.TB, c Cert) (cert, key []byte) {
	t.Helper()
	var priv crypto.Signer = ecKey(t)
	if c.RSA {
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		priv = rsaKey
	}
	_, cert = sign(t, c.template(t), ca.Cert, priv.Public(), ca.key)
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (c Cert) template(t testing.TB) *x509.Certificate {
	if c.Name == "" {
		c.Name = "node"
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().AddDate(1, 0, 0)
	}
	if c.NotAfter.Before(c.NotBefore) {
		c.NotBefore = c.NotAfter.AddDate(0, -1, 0)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: c.Name},
		NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if c.Server {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		tmpl.DNSNames, tmpl.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
		if c.Names != nil || c.NoNames {
			tmpl.DNSNames, tmpl.IPAddresses = c.Names, nil
		}
	}
	if c.NoUsage {
		tmpl.ExtKeyUsage = nil
	}
	return tmpl
}

// Certs returns a client's certificates, of which this CA has issued both.
func (ca *CA) Certs(t testing.TB, c Cert) kmip.Certs {
	t.Helper()
	cert, key := ca.Issue(t, c)
	return kmip.Certs{ServerCA: kmip.PEM{Data: ca.PEM}, ClientCert: kmip.PEM{Data: cert}, ClientKey: kmip.PEM{Data: key}}
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t testing.TB, tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, []byte) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
