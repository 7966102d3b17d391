package keyringtest

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	kmipgo "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/payloads"
	"github.com/ovh/kmip-go/ttlv"

	"sealbay/keyring/kmip"
)

// Fault is what a Server does wrong.
type Fault int

// The faults. Those before DropAtRequest come at the connection, the others
// at the operation in question.
const (
	None          Fault = iota
	Silent              // accepts the connection and never says a word
	DropAtAccept        // closes it at once
	PlainText           // talks, but not TLS
	DropAtRequest       // closes the connection instead of answering
	HangMidAnswer       // sends half the answer and waits
	Garbage             // sends what is not KMIP
	Malformed           // sends KMIP's frame around nonsense
	Huge                // announces an answer of 4 GiB
	OtherKeyID          // answers about another key
	NoState             // leaves out the attribute State
)

// Key is an object in a Server.
type Key struct {
	Bytes  []byte
	State  kmipgo.State
	Object kmipgo.Object // instead of a symmetric key of Bytes
	Reason kmipgo.ResultReason
}

// Server is a KMIP server in this process. It asks for client certificates.
type Server struct {
	CA   *CA
	Addr string

	listener net.Listener
	done     chan struct{}
	wg       sync.WaitGroup

	mu     sync.Mutex // guards all below
	tls    *tls.Config
	keys   map[string]*Key
	faults map[kmipgo.Operation]Fault
	oldest bool // KMIP 1.0 only
	asked  map[kmipgo.Operation]int
}

// NewServer starts a server on loopback with one active key "key-1".
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		CA: NewCA(t, "test CA"), done: make(chan struct{}),
		keys: map[string]*Key{}, faults: map[kmipgo.Operation]Fault{}, asked: map[kmipgo.Operation]int{},
	}
	s.Present(t, Cert{Name: "kms", Server: true})
	s.AddKey("key-1", nil, kmipgo.StateActive)
	s.listen(t, "127.0.0.1:0")
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) listen(t testing.TB, addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.Addr, s.done = l, l.Addr().String(), make(chan struct{})
	s.wg.Go(func() { s.accept(l) })
}

// Stop refuses connections and drops those there are.
func (s *Server) Stop() {
	select {
	case <-s.done:
		return
	default:
	}
	close(s.done)
	_ = s.listener.Close()
	s.wg.Wait()
}

// Start listens again at the same address after Stop.
func (s *Server) Start(t testing.TB) { s.listen(t, s.Addr) }

// Present makes the server show a certificate like c from the next
// connection on, and accept clients of its CA.
func (s *Server) Present(t testing.TB, c Cert) {
	t.Helper()
	cert, key := s.CA.Issue(t, c)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.CA.Cert)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tls = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// MaxTLS12 makes the server speak no newer TLS than 1.2, where a client
// certificate is refused within the handshake.
func (s *Server) MaxTLS12() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tls = s.tls.Clone()
	s.tls.MaxVersion = tls.VersionTLS12
}

// OnlyKMIP10 makes the server know nothing newer, Discover Versions included.
func (s *Server) OnlyKMIP10() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest = true
}

// AddKey puts a key into the server: raw, or 32 random bytes if nil.
func (s *Server) AddKey(id string, raw []byte, state kmipgo.State) {
	if raw == nil {
		raw = make([]byte, 32)
		rand.Read(raw) // never fails
	}
	s.SetKey(id, &Key{Bytes: raw, State: state})
}

// SetKey puts any object into the server, or takes it away if k is nil.
func (s *Server) SetKey(id string, k *Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = k
	if k == nil {
		delete(s.keys, id)
	}
}

// SetState changes the state of a key.
func (s *Server) SetState(id string, state kmipgo.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id].State = state
}

// Fail makes operation op go wrong until Fail(op, None). Op 0 means each.
func (s *Server) Fail(op kmipgo.Operation, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[op] = f
}

// Asked returns how many requests for op came in.
func (s *Server) Asked(op kmipgo.Operation) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[op]
}

// Config returns the configuration of a client that may use the key.
func (s *Server) Config(t testing.TB, keyID string) kmip.Config {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return kmip.Config{Hostname: host, Port: n, KeyID: keyID, Certs: s.CA.Certs(t, Cert{})}
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // stopped
		}
		s.wg.Go(func() { s.serve(c) })
	}
}

func (s *Server) fault(op kmipgo.Operation) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.faults[op]; f != None {
		return f
	}
	return s.faults[0]
}

// serve handles one connection; a client that goes away ends it, which is no
// error of the server.
func (s *Server) serve(raw net.Conn) {
	defer raw.Close()
	s.wg.Go(func() { // Stop drops connections
		<-s.done
		raw.Close()
	})
	switch s.fault(0) {
	case Silent:
		<-s.done
		return
	case DropAtAccept:
		return
	case PlainText:
		_, _ = io.WriteString(raw, "220 mail.example.com ESMTP ready\r\n")
		time.Sleep(100 * time.Millisecond)
		return
	}
	s.mu.Lock()
	conn := tls.Server(raw, s.tls)
	s.mu.Unlock()
	for s.exchange(conn) {
	}
	_ = conn.Close()
}

func (s *Server) exchange(conn net.Conn) bool {
	req, err := readRequest(conn)
	if err != nil || len(req.BatchItem) != 1 {
		return false
	}
	op := req.BatchItem[0].Operation
	s.mu.Lock()
	s.asked[op]++
	s.mu.Unlock()
	answer := ttlv.MarshalTTLV(s.answer(req))
	switch s.fault(op) {
	case DropAtRequest:
		return false
	case HangMidAnswer:
		_, _ = conn.Write(answer[:len(answer)/2])
		<-s.done
		return false
	case Garbage:
		answer = make([]byte, 512)
		rand.Read(answer)
	case Malformed: // every field's length is wrong
		for i := 12; i < len(answer); i += 8 {
			answer[i+3] ^= 0x2c
		}
	case Huge:
		binary.BigEndian.PutUint32(answer[4:], 0xfffffff0)
	}
	_, err = conn.Write(answer)
	return err == nil
}

func readRequest(conn net.Conn) (*kmipgo.RequestMessage, error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[4:])
	if n > 1<<16 {
		return nil, fmt.Errorf("request of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, err
	}
	req := new(kmipgo.RequestMessage)
	return req, ttlv.UnmarshalTTLV(append(head, body...), req)
}

func (s *Server) answer(req *kmipgo.RequestMessage) *kmipgo.ResponseMessage {
	item := kmipgo.ResponseBatchItem{Operation: req.BatchItem[0].Operation}
	payload, reason := s.handle(req.Header.ProtocolVersion, req.BatchItem[0].RequestPayload)
	if reason != 0 {
		item.ResultStatus, item.ResultReason = kmipgo.ResultStatusOperationFailed, reason
		item.ResultMessage = "the test server refuses:\n" + ttlv.EnumStr(reason)
	} else {
		item.ResponsePayload = payload
	}
	version := req.Header.ProtocolVersion
	return &kmipgo.ResponseMessage{
		Header:    kmipgo.ResponseHeader{ProtocolVersion: version, TimeStamp: time.Now(), BatchCount: 1},
		BatchItem: []kmipgo.ResponseBatchItem{item},
	}
}

func (s *Server) handle(v kmipgo.ProtocolVersion, req kmipgo.OperationPayload) (kmipgo.OperationPayload, kmipgo.ResultReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oldest && v != kmipgo.V1_0 {
		return nil, kmipgo.ResultReasonInvalidMessage
	}
	switch req := req.(type) {
	case *payloads.DiscoverVersionsRequestPayload:
		return &payloads.DiscoverVersionsResponsePayload{ProtocolVersion: []kmipgo.ProtocolVersion{kmipgo.V1_4, kmipgo.V1_2, kmipgo.V1_0}}, 0
	case *payloads.CreateRequestPayload:
		return s.create(), 0
	case *payloads.ActivateRequestPayload:
		return s.activate(req.UniqueIdentifier)
	case *payloads.GetRequestPayload:
		return s.get(req.UniqueIdentifier)
	case *payloads.GetAttributesRequestPayload:
		return s.attributes(req.UniqueIdentifier, req.AttributeName)
	}
	return nil, kmipgo.ResultReasonOperationNotSupported
}

func (s *Server) create() kmipgo.OperationPayload {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	id := "made-" + strconv.Itoa(len(s.keys)+1)
	s.keys[id] = &Key{Bytes: raw, State: kmipgo.StatePreActive}
	return &payloads.CreateResponsePayload{ObjectType: kmipgo.ObjectTypeSymmetricKey, UniqueIdentifier: id}
}

func (s *Server) activate(id string) (kmipgo.OperationPayload, kmipgo.ResultReason) {
	k, reason := s.find(id)
	if reason != 0 {
		return nil, reason
	}
	if f := s.faults[kmipgo.OperationActivate]; f == NoState {
		return nil, kmipgo.ResultReasonPermissionDenied
	}
	k.State = kmipgo.StateActive
	return &payloads.ActivateResponsePayload{UniqueIdentifier: id}, 0
}

func (s *Server) find(id string) (*Key, kmipgo.ResultReason) {
	k := s.keys[id]
	if k == nil {
		return nil, kmipgo.ResultReasonItemNotFound
	}
	return k, k.Reason
}

func (s *Server) get(id string) (kmipgo.OperationPayload, kmipgo.ResultReason) {
	k, reason := s.find(id)
	if reason != 0 {
		return nil, reason
	}
	object := k.Object
	if object == nil {
		raw := slices.Clone(k.Bytes)
		object = &kmipgo.SymmetricKey{KeyBlock: kmipgo.KeyBlock{
			KeyFormatType:          kmipgo.KeyFormatTypeRaw,
			KeyValue:               &kmipgo.KeyValue{Plain: &kmipgo.PlainKeyValue{KeyMaterial: kmipgo.KeyMaterial{Bytes: &raw}}},
			CryptographicAlgorithm: kmipgo.CryptographicAlgorithmAES, CryptographicLength: int32(8 * len(raw)),
		}}
	}
	if s.faults[kmipgo.OperationGet] == OtherKeyID {
		id += "-other"
	}
	return &payloads.GetResponsePayload{ObjectType: object.ObjectType(), UniqueIdentifier: id, Object: object}, 0
}

func (s *Server) attributes(id string, names []kmipgo.AttributeName) (kmipgo.OperationPayload, kmipgo.ResultReason) {
	k, reason := s.find(id)
	if reason != 0 {
		return nil, reason
	}
	object := kmipgo.ObjectTypeSymmetricKey
	if k.Object != nil {
		object = k.Object.ObjectType()
	}
	all := []kmipgo.Attribute{
		{AttributeName: kmipgo.AttributeNameUniqueIdentifier, AttributeValue: id},
		{AttributeName: kmipgo.AttributeNameObjectType, AttributeValue: object},
		{AttributeName: kmipgo.AttributeNameCryptographicLength, AttributeValue: int32(8 * len(k.Bytes))},
		{AttributeName: kmipgo.AttributeNameCryptographicAlgorithm, AttributeValue: kmipgo.CryptographicAlgorithmAES},
		{AttributeName: kmipgo.AttributeNameInitialDate, AttributeValue: time.Unix(1700000000, 0)},
		{AttributeName: kmipgo.AttributeNameState, AttributeValue: k.State},
	}
	all = slices.DeleteFunc(all, func(a kmipgo.Attribute) bool {
		return !slices.Contains(names, a.AttributeName) ||
			a.AttributeName == kmipgo.AttributeNameState && s.faults[kmipgo.OperationGetAttributes] == NoState
	})
	return &payloads.GetAttributesResponsePayload{UniqueIdentifier: id, Attribute: all}, 0
}
