// Follow follows a board with r3labs/sse and prints each event as a line of JSON.
//
//	follow URL
//
// It reconnects from the cursor of the last event until the stream says that it ends for good. tests/it/foreign_clients reads the lines.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"
)

type event struct {
	Event string `json:"event"`
	ID    string `json:"id"`
	Data  string `json:"data"`
}

func main() {
	// Whatever happens to the test, this ends.
	time.AfterFunc(2*time.Minute, func() { os.Exit(1) })
	// A list of 500 topics is longer than the 64 KiB that it takes by default.
	client := sse.NewClient(os.Args[1], sse.ClientMaxBufferSize(16<<20))
	client.ReconnectStrategy = backoff.NewConstantBackOff(50 * time.Millisecond)
	for {
		// It takes the end of an answer for the end of all.
		err := client.SubscribeRawWithContext(context.Background(), take)
		fmt.Fprintln(os.Stderr, "the stream ended:", err)
		time.Sleep(50 * time.Millisecond)
	}
}

func take(message *sse.Event) {
	line, err := json.Marshal(event{string(message.Event), string(message.ID), string(message.Data)})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
	if string(message.Event) != "bye" {
		return
	}
	var bye struct{ Reason string }
	if err := json.Unmarshal(message.Data, &bye); err != nil {
		panic(err)
	}
	if bye.Reason == "gone" || bye.Reason == "auth" {
		os.Exit(0)
	}
}
