package kmip

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// certificates parses the certificates of a PEM file, at least one.
func certificates(field string, p PEM) ([]*x509.Certificate, error) {
	bad := func(format string, a ...any) ([]*x509.Certificate, error) {
		return nil, &FieldError{field, p.File, fmt.Sprintf(format, a...)}
	}
	blocks, err := pemBlocks(field, p)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return bad("certificate %d cannot be read: %v", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case len(certs) > 0:
		return certs, nil
	case hasPrivateKey(blocks) && field == "client_cert":
		return bad("holds a private key and no certificate: are client_cert and client_private_key swapped?")
	case hasPrivateKey(blocks):
		return bad("holds a private key and no certificate")
	}
	return bad("holds no certificate but %s", types(blocks))
}

// keyPair parses the client's certificate and key and checks that they belong
// together.
func keyPair(c Certs) (tls.Certificate, error) {
	certs, err := certificates("client_cert", c.ClientCert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := privateKey(c.ClientKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certificateBlocks(certs), pem.EncodeToMemory(key))
	if err != nil {
		why := "is not the key of " + subject(certs[0]) + " in client_cert"
		if !strings.Contains(err.Error(), "does not match") {
			why = "cannot be read: " + strings.TrimPrefix(err.Error(), "tls: ")
		}
		return tls.Certificate{}, &FieldError{"client_private_key", c.ClientKey.File, why}
	}
	return pair, nil
}

func certificateBlocks(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a Buffer takes all
	}
	return out.Bytes()
}

func privateKey(p PEM) (*pem.Block, error) {
	const field = "client_private_key"
	bad := func(format string, a ...any) (*pem.Block, error) {
		return nil, &FieldError{field, p.File, fmt.Sprintf(format, a...)}
	}
	blocks, err := pemBlocks(field, p)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			name := p.File
			if name == "" {
				name = "client.key"
			}
			return bad("the private key is encrypted with a passphrase, which nobody could type at start; decrypt it with: openssl pkey -in %s -out plain.key", name)
		}
	}
	for _, b := range blocks {
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			return b, nil
		}
	}
	for _, b := range blocks {
		if b.Type == "CERTIFICATE" {
			return bad("holds a certificate and no private key: are client_cert and client_private_key swapped?")
		}
	}
	return bad("holds no private key but %s", types(blocks))
}

func hasPrivateKey(blocks []*pem.Block) bool {
	for _, b := range blocks {
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			return true
		}
	}
	return false
}

// pemBlocks splits a PEM file, which holds at least one block.
func pemBlocks(field string, p PEM) ([]*pem.Block, error) {
	if len(bytes.TrimSpace(p.Data)) == 0 {
		return nil, &FieldError{field, p.File, "is empty"}
	}
	var blocks []*pem.Block
	for rest := p.Data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	if len(blocks) == 0 {
		why := "is not a PEM file (no -----BEGIN line)"
		if bytes.Contains(p.Data, []byte("-----BEGIN")) {
			why = "is a damaged PEM file: a block does not end, or holds other than base64"
		}
		return nil, &FieldError{field, p.File, why}
	}
	return blocks, nil
}

func types(blocks []*pem.Block) string {
	var all []string
	for _, b := range blocks {
		all = append(all, fmt.Sprintf("%q", b.Type))
	}
	return strings.Join(all, ", ")
}

// subject names a certificate as its owner would.
func subject(c *x509.Certificate) string {
	if c.Subject.String() != "" {
		return "certificate " + c.Subject.String()
	}
	return "certificate with serial number " + c.SerialNumber.String()
}
