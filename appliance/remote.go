package appliance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"

	"sealbay/appliance/rest"
)

// The certificate that the node shows remote clients, and its key.
const (
	tlsFile     = "tls.pem"
	tlsValidity = 10 * 365 * 24 * time.Hour // known by its fingerprint, so its end matters little
)

// listenTLS opens the listener for remote clients. On the first start it makes
// a certificate, whose fingerprint clients are to be told.
func (n *Node) listenTLS(addr string) (listener, error) {
	cert, err := n.state.loadTLS()
	if errors.Is(err, fs.ErrNotExist) {
		cert, err = n.state.makeTLS()
	}
	if err != nil {
		return listener{}, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return listener{}, fmt.Errorf("listening for remote clients: %w", err)
	}
	n.log.Info("serving remote clients", "address", l.Addr().String(), "fingerprint", rest.Fingerprint(cert.Certificate[0]))
	return listener{l, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}}, nil
}

func (s *state) loadTLS() (tls.Certificate, error) {
	b := make([]byte, maxPEM)
	n, err := s.folder.Read(tlsFile, b)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.X509KeyPair(b[:n], b[:n])
	clear(b)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w; remove it and the node makes a new one, with another fingerprint", s.folder.Path(tlsFile), err)
	}
	return cert, nil
}

func (s *state) makeTLS() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "Sealbay node " + host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(tlsValidity),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	if err := s.folder.Replace(tlsFile, both); err != nil {
		return tls.Certificate{}, err
	}
	return s.loadTLS()
}
