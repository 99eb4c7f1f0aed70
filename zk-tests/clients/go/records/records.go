// Package records holds what the Go clients share: the records file, the digest of what was read, and the command line.
//
//	CLIENT BOOTSTRAP RECORDS_FILE (produce:CODEC:TOPIC | consume:TOPIC)...
//
// Line i of the file is `key TAB value` and goes to partition i modulo Partitions. Each action prints one JSON line.
package records

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"strings"
)

// Partitions is the number of partitions of every topic of the test.
const Partitions = 3

// Record is one line of the records file.
type Record struct{ Key, Value []byte }

// Client is what a library has to do.
type Client interface {
	// Produce sends record i to partition i modulo Partitions, in order, and returns when all are acknowledged.
	Produce(codec, topic string, all []Record) error
	// Consume reads every partition from its start, without a group, until the digest is complete.
	Consume(topic string, digest *Digest) error
}

type partition struct {
	Records int64  `json:"records"`
	Next    int64  `json:"next_offset"`
	SHA256  string `json:"sha256"`
	hash    hash.Hash
}

// Digest sums up what was read: per partition the number of records and a hash over them in the order of offsets.
type Digest struct {
	partitions [Partitions]partition
	missing    int
}

// NewDigest expects this many records over all partitions.
func NewDigest(expected int) *Digest {
	d := &Digest{missing: expected}
	for i := range d.partitions {
		d.partitions[i].hash = sha256.New()
	}
	return d
}

// Add takes the next record of a partition; its offset must follow the one before.
func (d *Digest) Add(index int32, offset int64, key, value []byte) error {
	p := &d.partitions[index]
	if offset != p.Next {
		return fmt.Errorf("partition %d: offset %d where %d was due", index, offset, p.Next)
	}
	p.Next++
	p.Records++
	p.hash.Write(key)
	p.hash.Write([]byte{'\t'})
	p.hash.Write(value)
	p.hash.Write([]byte{'\n'})
	d.missing--
	return nil
}

// Complete says whether all expected records were read.
func (d *Digest) Complete() bool { return d.missing <= 0 }

func load(path string) ([]Record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []Record
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\t'})
		all = append(all, Record{key, value})
	}
	return all, nil
}

func run(open func(bootstrap string) (Client, error)) error {
	if len(os.Args) < 4 {
		return fmt.Errorf("usage: %s BOOTSTRAP RECORDS_FILE ACTION...", os.Args[0])
	}
	all, err := load(os.Args[2])
	if err != nil {
		return err
	}
	client, err := open(os.Args[1])
	if err != nil {
		return err
	}
	for _, action := range os.Args[3:] {
		words := strings.SplitN(action, ":", 3)
		out := map[string]any{"action": action}
		switch {
		case words[0] == "produce" && len(words) == 3:
			err = client.Produce(words[1], words[2], all)
		case words[0] == "consume" && len(words) == 2:
			digest := NewDigest(len(all))
			err = client.Consume(words[1], digest)
			read := map[string]partition{}
			for i, p := range digest.partitions {
				p.SHA256 = hex.EncodeToString(p.hash.Sum(nil))
				read[fmt.Sprint(i)] = p
			}
			out["partitions"] = read
		default:
			err = fmt.Errorf("unknown action")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", action, err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
			return err
		}
	}
	return nil
}

// Main runs the command line and ends the process.
func Main(open func(bootstrap string) (Client, error)) {
	if err := run(open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
