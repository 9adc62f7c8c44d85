// Generated uses the client that oapi-codegen made: lists, posts, is refused, administers.
//
//	generated URL TOKEN
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"clients/api"
)

const comment = "by oapi-codegen: \u2028 \"quotes\" 回覧板\nand lines"

var ctx = context.Background()

func main() {
	url, token := os.Args[1], os.Args[2]
	client, err := api.NewClientWithResponses(url)
	check(err)
	topic := readsAndPosts(client)
	isRefused(client)
	admin, err := api.NewClientWithResponses(url, api.WithRequestEditorFn(func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	check(err)
	administers(admin, topic)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func assert(condition bool, said ...any) {
	if !condition {
		panic(fmt.Sprintf("%+v", said))
	}
}

func pointer[T any](value T) *T { return &value }

func readsAndPosts(client *api.ClientWithResponses) api.Topic {
	boards, err := client.GetBoardsWithResponse(ctx, &api.GetBoardsParams{Limit: pointer(10)})
	check(err)
	assert(len(boards.JSON200.Boards) == 1 && boards.JSON200.Boards[0].Name == "main", boards)
	draft := api.Draft{Comment: comment, Author: pointer("ann")}
	key := api.PostTopicParams{IdempotencyKey: pointer("once")}
	posted, err := client.PostTopicWithResponse(ctx, "main", &key, draft)
	check(err)
	again, err := client.PostTopicWithResponse(ctx, "main", &key, draft)
	check(err)
	topic := *posted.JSON201
	assert(topic.Id == again.JSON201.Id && topic.EditedAt == nil, topic)
	listed, err := client.GetTopicsWithResponse(ctx, "main", &api.GetTopicsParams{})
	check(err)
	topics := listed.JSON200.Topics
	assert(topics[len(topics)-1].Comment == comment, topics)
	tag := listed.HTTPResponse.Header.Get("ETag")
	same, err := client.GetTopicsWithResponse(ctx, "main", &api.GetTopicsParams{IfNoneMatch: &tag})
	check(err)
	assert(same.StatusCode() == 304, same.Status())
	found, err := client.GetTopicsWithResponse(ctx, "main", &api.GetTopicsParams{Q: pointer("QUOTES")})
	check(err)
	assert(found.JSON200.Topics[0].Id == topic.Id && found.JSON200.Searched.Complete, found.JSON200)
	log, err := client.GetChangesWithResponse(ctx, "main", &api.GetChangesParams{})
	check(err)
	changes := log.JSON200.Changes
	assert(changes[len(changes)-1].Kind == api.ChangeKindSet, changes)
	return topic
}

func isRefused(client *api.ClientWithResponses) {
	empty, err := client.PostTopicWithResponse(ctx, "main", &api.PostTopicParams{}, api.Draft{Comment: " "})
	check(err)
	assert((*empty.ApplicationproblemJSON422.Errors)[0].Field == "comment", empty)
	missing, err := client.GetBoardInfoWithResponse(ctx, "nowhere")
	check(err)
	assert(missing.ApplicationproblemJSON404.Code == "not_found", missing)
	forbidden, err := client.GetStatsWithResponse(ctx)
	check(err)
	assert(forbidden.ApplicationproblemJSON401.Status == 401, forbidden)
}

func administers(client *api.ClientWithResponses, topic api.Topic) {
	edited, err := client.PatchTopicWithResponse(ctx, "main", topic.Id, &api.PatchTopicParams{}, api.Edit{Comment: pointer("edited")})
	check(err)
	assert(edited.JSON200.Comment == "edited" && edited.JSON200.EditedAt != nil, edited)
	deleted, err := client.DeleteTopicWithResponse(ctx, "main", topic.Id, &api.DeleteTopicParams{})
	check(err)
	assert(deleted.StatusCode() == 204, deleted.Status())
	restored, err := client.RestoreTopicWithResponse(ctx, "main", topic.Id, &api.RestoreTopicParams{})
	check(err)
	assert(restored.JSON200.Comment == "edited", restored)
	made, err := client.PostBoardInfoWithResponse(ctx, &api.PostBoardInfoParams{}, api.BoardDraft{Name: "lost"})
	check(err)
	assert(made.JSON201.Name == "lost", made)
	changed, err := client.PatchBoardInfoWithResponse(ctx, "lost", &api.PatchBoardInfoParams{}, api.BoardChange{Title: pointer("Lost and found")})
	check(err)
	assert(changed.JSON200.Title == "Lost and found", changed)
	gone, err := client.DeleteBoardInfoWithResponse(ctx, "lost", &api.DeleteBoardInfoParams{})
	check(err)
	assert(gone.StatusCode() == 204, gone.Status())
	token, err := client.PostTokenWithResponse(ctx, &api.PostTokenParams{}, api.TokenDraft{Name: "bot", Scope: "post"})
	check(err)
	assert(token.JSON201.Token != "", token)
	stats, err := client.GetStatsWithResponse(ctx)
	check(err)
	assert(stats.JSON200.Version != "", stats)
}
