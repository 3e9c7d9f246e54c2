package chat_test

import (
	"encoding/json"
	"fmt"

	"lapidary/chat"
)

func ExampleTemplate_Render() {
	t := chat.BuiltIn("gemma3")
	text, err := t.Render([]chat.Message{
		{Role: chat.System, Content: "Be brief."},
		{Role: chat.User, Content: "Hello!"},
	}, true)
	fmt.Println(text, err)
	// Output:
	// <bos><start_of_turn>user
	// Be brief.
	//
	// Hello!<end_of_turn>
	// <start_of_turn>model
	//  <nil>
}

// The soft tokens are counted by whoever prepares the picture. With a
// tokenizer, [chat.Template.Prompt] gives the tokens and where they stand.
func ExamplePlace() {
	parts, err := chat.Place("Is <image> a cat?", chat.Part{Type: chat.Image, Tokens: []int{256}})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := chat.BuiltIn("gemma4").Render([]chat.Message{{Role: chat.User, Parts: parts}}, false)
	fmt.Println(text, err)
	// Output:
	// <bos><|turn>user
	// Is<|image|>a cat?<turn|>
	//  <nil>
}

func ExampleTemplate_RenderConversation() {
	text, err := chat.BuiltIn("gemma4").RenderConversation(chat.Conversation{
		Tools: []chat.Function{{
			Name: "weather", Description: "The weather.",
			Parameters: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}}}`),
		}},
		Messages: []chat.Message{
			{Role: chat.User, Content: "Bern?"},
			{Role: chat.Assistant, ToolCalls: []chat.ToolCall{{ID: "1", Name: "weather", Arguments: json.RawMessage(`{"city":"Bern"}`)}}},
			{Role: chat.Tool, ToolCallID: "1", Content: "rain"},
		},
	}, true)
	fmt.Println(text, err)
	// Output:
	// <bos><|turn>system
	// <|tool>declaration:weather{description:<|"|>The weather.<|"|>,parameters:{properties:{city:{type:<|"|>STRING<|"|>}},type:<|"|>OBJECT<|"|>}}<tool|><turn|>
	// <|turn>user
	// Bern?<turn|>
	// <|turn>model
	// <|tool_call>call:weather{city:<|"|>Bern<|"|>}<tool_call|><|tool_response>response:weather{value:<|"|>rain<|"|>}<tool_response|> <nil>
}

// A generator's tokens go to the Parser of [chat.Template.NewParser] in the
// same way.
func ExampleSpelled() {
	answer := chat.BuiltIn("gemma4").NewSpelled(false)
	var events []chat.Event
	for _, piece := range []string{"<|chan", "nel>thought\nI need the wea", "ther.\n<channel|>One moment.", `<|tool_call>call:weather{city:<|"|>Bern`, `<|"|>}<tool_call|>`} {
		events = append(events, answer.Write(piece)...)
	}
	for _, e := range append(events, answer.Close()...) {
		switch e.Kind {
		case chat.Thought:
			fmt.Printf("thinks %q\n", e.Text)
		case chat.Answered:
			fmt.Printf("says %q\n", e.Text)
		case chat.Called:
			fmt.Printf("calls %s(%s)\n", e.Call.Name, e.Call.Arguments)
		}
	}
	// Output:
	// thinks "I need the wea"
	// thinks "ther."
	// says "One moment."
	// calls weather({"city":"Bern"})
}
