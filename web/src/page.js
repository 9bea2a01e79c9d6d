// The page's script: what makes it live. All that is shown comes from the server as HTML and can be read without it.
import "./libraries.js";
import { followStream } from "./live.js";
import { drawCharts } from "./charts.js";
import { guardQuestions } from "./questions.js";
import { keepTimesCurrent } from "./times.js";
import { delegateWithWallet } from "./wallet.js";

keepTimesCurrent();
followStream(document.getElementById("stream"));
drawCharts();
guardQuestions();
delegateWithWallet(document.getElementById("delegate"));
