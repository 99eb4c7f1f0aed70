// Package members holds what the Go members of groups share: the command line, and events as Kafka's VerifiableConsumer
// prints them. Assignments carry the generation that they belong to.
//
//	MEMBER ASSIGNOR BOOTSTRAP GROUP TOPIC [INSTANCE]
package members

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"
)

// Arguments is the command line.
type Arguments struct {
	Assignor, Group, Topic string
	Bootstrap              []string
	// Instance is empty for a dynamic member.
	Instance string
}

// Read takes the command line apart.
func Read() Arguments {
	a := Arguments{Assignor: os.Args[1], Bootstrap: strings.Split(os.Args[2], ","), Group: os.Args[3], Topic: os.Args[4]}
	if len(os.Args) > 5 {
		a.Instance = os.Args[5]
	}
	return a
}

// Range is what was read of one partition.
type Range struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Count     int64  `json:"count"`
	Min       int64  `json:"minOffset"`
	Max       int64  `json:"maxOffset"`
}

var out sync.Mutex

func event(name string, fields map[string]any) {
	fields["timestamp"] = time.Now().UnixMilli()
	fields["name"] = name
	out.Lock()
	defer out.Unlock()
	// Nobody is left to tell of an output that is gone.
	_ = json.NewEncoder(os.Stdout).Encode(fields)
}

// Partitions prints what was assigned or revoked, in a generation of the group.
func Partitions(name, topic string, partitions []int32, generation int32) {
	listed := []map[string]any{}
	for _, p := range partitions {
		listed = append(listed, map[string]any{"topic": topic, "partition": p})
	}
	event(name, map[string]any{"partitions": listed, "generation": generation})
}

// Consumed prints what was read.
func Consumed(ranges []Range) {
	count := int64(0)
	for _, r := range ranges {
		count += r.Count
	}
	event("records_consumed", map[string]any{"count": count, "partitions": ranges})
}

// Committed prints how a commit of all that ranges hold ended.
func Committed(ranges []Range, failed error) {
	offsets := []map[string]any{}
	for _, r := range ranges {
		offsets = append(offsets, map[string]any{"topic": r.Topic, "partition": r.Partition, "offset": r.Max + 1})
	}
	fields := map[string]any{"offsets": offsets, "success": failed == nil}
	if failed != nil {
		fields["error"] = failed.Error()
	}
	event("offsets_committed", fields)
}
