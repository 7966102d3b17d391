package kmip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/payloads"
	"github.com/ovh/kmip-go/ttlv"

	"sealbay/keyring"
)

// What an errand may take in all: dialling, handshake and every request. The
// state "Cannot connect to KMS server." is to show within 5 s.
const (
	timeout       = 4 * time.Second
	createTimeout = 20 * time.Second // an HSM may make keys slowly
)

// An errand is one visit to the server: a session and what to say of it.
type errand struct {
	*session
	about target
	seen  expiries
}

// expiries are those of the certificates that took part in a handshake.
type expiries struct{ client, ca, server time.Time }

// run visits the server with one key in mind. Errors that visit returns are
// explained.
func run(ctx context.Context, cfg *Config, limit time.Duration, worked time.Time, visit func(*errand) error) (expiries, error) {
	creds, err := cfg.credentials()
	if err != nil {
		return expiries{}, err
	}
	e := &errand{about: target{addr: cfg.Addr(), keyID: cfg.KeyID, worked: worked, client: creds.pair.Leaf}}
	e.seen = expiries{client: creds.pair.Leaf.NotAfter, ca: latest(creds.cas)}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	e.session, err = dial(ctx, cfg.Addr(), e.tlsConfig(cfg.Hostname, creds))
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		e.seen.server = cert.UnverifiedCertificates[0].NotAfter
	}
	if err != nil {
		return e.seen, e.about.explain(err)
	}
	defer e.close()
	return e.seen, e.about.explain(visit(e))
}

func (e *errand) tlsConfig(host string, creds *credentials) *tls.Config {
	return &tls.Config{
		ServerName: host,
		RootCAs:    creds.roots,
		// Not Certificates: of those Go sends none where the server's list of
		// CAs does not fit, and the server then says nothing of a certificate.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &creds.pair, nil },
		MinVersion:           tls.VersionTLS12, // KMIP 1.4 profiles 3.1.1
		CipherSuites:         cipherSuites(),
		VerifyConnection: func(cs tls.ConnectionState) error {
			chain := cs.VerifiedChains[0]
			e.seen.server, e.seen.ca = chain[0].NotAfter, chain[len(chain)-1].NotAfter
			return nil
		},
	}
}

// cipherSuites are Go's and, last in preference, the two suites with forward
// secrecy of the KMIP 1.x profiles, without which an older server with an RSA
// certificate shares none with us (PyKMIP is one). They are CBC, for which Go
// has no full answer to the Lucky Thirteen timing attack; that needs a secret
// sent many times over, and here it passes once at each start.
func cipherSuites() []uint16 {
	ids := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}
	for _, s := range tls.CipherSuites() {
		ids = append(ids, s.ID)
	}
	return ids
}

func latest(certs []*x509.Certificate) (t time.Time) {
	for _, c := range certs {
		if c.NotAfter.After(t) {
			t = c.NotAfter
		}
	}
	return t
}

// attributes are what decides whether a key may be used.
type attributes struct {
	state  kmip.State
	object kmip.ObjectType
	bits   int32
	made   time.Time
}

// attributes asks for more than it needs: the answer is then longer than that
// of get, and overwrites the key in the record buffer of crypto/tls.
func (e *errand) attributes(id string) (attributes, error) {
	var a attributes
	resp, err := do[*payloads.GetAttributesResponsePayload](e.session, &payloads.GetAttributesRequestPayload{
		UniqueIdentifier: id,
		AttributeName: []kmip.AttributeName{
			kmip.AttributeNameState, kmip.AttributeNameObjectType, kmip.AttributeNameCryptographicLength,
			kmip.AttributeNameCryptographicAlgorithm, kmip.AttributeNameCryptographicUsageMask,
			kmip.AttributeNameInitialDate, kmip.AttributeNameUniqueIdentifier, kmip.AttributeNameName,
		},
	})
	if err != nil {
		return a, err
	}
	for _, attr := range resp.Attribute {
		switch v := attr.AttributeValue.(type) {
		case kmip.State:
			a.state = v
		case kmip.ObjectType:
			a.object = v
		case time.Time:
			a.made = v
		case int32:
			if attr.AttributeName == kmip.AttributeNameCryptographicLength {
				a.bits = v
			}
		}
	}
	return a, nil
}

// check refuses a key that must not be used. A key that only has to open what
// it protected before (retained) may be in a state for processing, KMIP 1.4
// 3.22: Deactivated and Compromised.
func (e *errand) check(id string, a attributes, retained bool) error {
	switch {
	case a.object != 0 && a.object != kmip.ObjectTypeSymmetricKey:
		return e.about.fail(keyring.ErrKeyLength, nil, "object %q is a %s, need a symmetric key of 256 bits", id, ttlv.EnumStr(a.object))
	case a.state == kmip.StateActive, retained && (a.state == kmip.StateDeactivated || a.state == kmip.StateCompromised):
	case a.state == 0:
		return e.about.fail(keyring.ErrKeyInactive, nil, "the server does not tell the state of key %q: let the client read the attribute State", id)
	case a.state == kmip.StateDestroyed || a.state == kmip.StateDestroyedCompromised:
		return e.about.notFound(nil)
	case a.state == kmip.StatePreActive:
		return e.about.fail(keyring.ErrKeyInactive, nil, "key %q is not active yet (state %s): activate it on the KMS", id, ttlv.EnumStr(a.state))
	default:
		return e.about.fail(keyring.ErrKeyInactive, nil, "key %q is no longer active (state %s): rotate to an active key while this node still runs", id, ttlv.EnumStr(a.state))
	}
	if a.bits != 0 && a.bits != 8*keyring.KeySize {
		return e.about.wrongLength(id, int(a.bits))
	}
	return nil
}

func (t *target) wrongLength(id string, bits int) error {
	return t.fail(keyring.ErrKeyLength, nil, "key %q is %d bits, need %d: configure a 256-bit symmetric key", id, bits, 8*keyring.KeySize)
}

// fetch gets the key and then its state, so that no signal can lay it open.
func (e *errand) fetch(id string, retained bool) (key *keyring.MasterKey, info keyring.KeyInfo, err error) {
	err = keyring.Quiet(func() (err error) {
		key, info, err = e.keyThenState(id, retained)
		return err
	})
	return key, info, err
}

// keyThenState: the state must be the younger one.
func (e *errand) keyThenState(id string, retained bool) (*keyring.MasterKey, keyring.KeyInfo, error) {
	raw, getErr := e.get(id)
	defer clear(raw)
	var refused *resultError
	if getErr != nil && !errors.As(getErr, &refused) && !errors.As(getErr, new(*Error)) {
		return nil, keyring.KeyInfo{}, getErr // the connection is gone
	}
	a, err := e.attributes(id)
	if err == nil {
		err = e.check(id, a, retained)
	}
	if getErr != nil && !errors.As(err, new(*Error)) { // unless the state says why it was refused
		err = getErr
	}
	if err != nil {
		return nil, keyring.KeyInfo{}, err
	}
	if len(raw) != keyring.KeySize {
		return nil, keyring.KeyInfo{}, e.about.wrongLength(id, 8*len(raw))
	}
	key, err := keyring.NewMasterKey(raw)
	if err != nil {
		return nil, keyring.KeyInfo{}, err
	}
	return key, keyring.KeyInfo{Ref: keyring.Ref{Type: keyring.KMS, ID: key.ID(), KeyID: id}, Created: a.made}, nil
}

// get returns the key's bytes on the Go heap; the caller wipes them.
func (e *errand) get(id string) ([]byte, error) {
	resp, err := do[*payloads.GetResponsePayload](e.session, &payloads.GetRequestPayload{UniqueIdentifier: id})
	if err != nil {
		return nil, err
	}
	if resp.UniqueIdentifier != id {
		return nil, fmt.Errorf("%w: it is about key %q, asked was %q", errMalformed, printable(resp.UniqueIdentifier), id)
	}
	sym, ok := resp.Object.(*kmip.SymmetricKey)
	if !ok {
		return nil, e.about.fail(keyring.ErrKeyLength, nil, "object %q is a %s, need a symmetric key of 256 bits", id, ttlv.EnumStr(resp.ObjectType))
	}
	if sym.KeyBlock.KeyValue == nil || sym.KeyBlock.KeyWrappingData != nil {
		return nil, e.about.fail(keyring.ErrKeyLength, nil, "key %q came without its bytes or wrapped: configure a key that the client may read in the clear", id)
	}
	raw, err := sym.KeyMaterial()
	if err != nil {
		return nil, e.about.fail(keyring.ErrKeyLength, nil, "key %q came in a format that cannot be used (%s): need a raw symmetric key",
			id, ttlv.EnumStr(sym.KeyBlock.KeyFormatType))
	}
	return raw, nil
}

// create makes an active 256-bit AES key and returns its ID.
func (e *errand) create(name string) (string, error) {
	resp, err := do[*payloads.CreateResponsePayload](e.session, &payloads.CreateRequestPayload{
		ObjectType: kmip.ObjectTypeSymmetricKey,
		TemplateAttribute: kmip.TemplateAttribute{Attribute: []kmip.Attribute{
			{AttributeName: kmip.AttributeNameCryptographicAlgorithm, AttributeValue: kmip.CryptographicAlgorithmAES},
			{AttributeName: kmip.AttributeNameCryptographicLength, AttributeValue: int32(8 * keyring.KeySize)},
			{AttributeName: kmip.AttributeNameCryptographicUsageMask, AttributeValue: kmip.CryptographicUsageEncrypt | kmip.CryptographicUsageDecrypt},
			{AttributeName: kmip.AttributeNameName, AttributeValue: kmip.Name{NameValue: name, NameType: kmip.NameTypeUninterpretedTextString}},
		}},
	})
	if err != nil {
		return "", err
	}
	id := resp.UniqueIdentifier
	if err := validateKeyID(id); err != nil {
		return "", fmt.Errorf("%w: the new key's ID: %w", errMalformed, err)
	}
	e.about.keyID = id
	if _, err := do[*payloads.ActivateResponsePayload](e.session, &payloads.ActivateRequestPayload{UniqueIdentifier: id}); err != nil {
		return "", e.about.fail(stateOf(e.about.explain(err)), err, "key %q was created but cannot be activated (%v): activate it on the KMS and give its ID, or destroy it", id, err)
	}
	return id, nil
}

func stateOf(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.State
	}
	return err
}

// CreateKey makes a key of that name on the server, active and of 256 bits,
// and returns its ID. cfg.KeyID is not looked at.
func CreateKey(ctx context.Context, cfg Config, name string) (string, error) {
	if err := validateName(name); err != nil {
		return "", err
	}
	cfg.KeyID = ""
	var id string
	_, err := run(ctx, &cfg, createTimeout, time.Time{}, func(e *errand) (err error) {
		id, err = e.create(name)
		return err
	})
	return id, err
}

func validateName(name string) error {
	if name == "" || len(name) > 256 || printable(name) != name {
		return &FieldError{"key_name", "", fmt.Sprintf("%q is not a name of 1 to 256 printable characters", name)}
	}
	return nil
}
