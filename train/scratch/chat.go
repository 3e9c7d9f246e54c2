package scratch

import "strings"

// turns is Gemma 3's form of a conversation: what the system says begins the
// first user's turn.
const turns = `{{ bos_token }}
{%- set opening = '' -%}
{%- set rest = messages -%}
{%- if messages[0]['role'] == 'system' -%}
    {%- set opening = (messages[0]['content'] if messages[0]['content'] is string else messages[0]['content'][0]['text']) + '\n\n' -%}
    {%- set rest = messages[1:] -%}
{%- endif -%}
{%- for message in rest -%}
    {{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}
    {%- if loop.first -%}{{ opening }}{%- endif -%}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- else -%}
        {%- for part in message['content'] -%}{{ part['text'] | trim }}{%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}
`

// channels is Gemma 4's, without tools and thoughts.
const channels = `{{ bos_token }}
{%- for message in messages -%}
    {{ '<|turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- else -%}
        {%- for part in message['content'] -%}
            {%- if part['type'] == 'text' -%}{{ part['text'] | trim }}{%- else -%}{{ '<|' + part['type'] + '|>' }}{%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ '<turn|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|turn>model\n' }}{%- endif -%}
`

// form is what a family's vocabulary has for conversations and media.
type form struct {
	special  []string
	template string
	end      string            // of a turn
	media    map[string]string // what transformers' processor calls some of them
}

var (
	threeForm = form{
		special:  []string{"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"},
		template: turns, end: "<end_of_turn>",
	}
	fourForm = form{
		special: []string{"<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>",
			"<|image>", "<|image|>", "<image|>", "<|video|>", "<|audio>", "<|audio|>", "<audio|>"},
		template: channels, end: "<turn|>",
		media: map[string]string{
			"boi_token": "<|image>", "image_token": "<|image|>", "eoi_token": "<image|>",
			"boa_token": "<|audio>", "audio_token": "<|audio|>", "eoa_token": "<audio|>",
		},
	}
)

// ChatTemplate is the Jinja form of a family's turns, as Make writes it.
func ChatTemplate(family string) string {
	if strings.HasPrefix(family, "gemma4") {
		return channels
	}
	return turns
}
