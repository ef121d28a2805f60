"""The nine methods as anybody would write them with peft and transformers: no Bunsen in them."""
